import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { badRequest, Refusal } from '../errors'
import { bodyOf } from './requestBody'

/** A host name or an address, and a port. */
const HOST = /^(\[[\da-f:.]+\]|[^\s/?#@\\:,[\]]+)(:\d{1,5})?$/i
/** `GET http://host/path`, as to a proxy. */
const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i

/**
 * The web-standard request. A host's `originalUrl` is preferred: that is the address before the
 * mount path was cut off.
 *
 * @throws Refusal 400
 */
export function toRequest(incoming: IncomingMessage & { originalUrl?: unknown }, signal: AbortSignal): Request {
  const { method = 'GET', originalUrl, url = '/' } = incoming
  const target = typeof originalUrl === 'string' ? originalUrl : url
  const [, named, rest = '/'] = ABSOLUTE.exec(target) ?? [undefined, undefined, target]
  const address = `${schemeOf(incoming)}://${hostOf(incoming, named)}${rest}`
  const headers = headersOf(incoming)
  const body = method === 'GET' || method === 'HEAD' ? null : bodyOf(incoming, headers)
  try {
    if (rest !== '' && !/^[/?]/.test(rest)) throw new TypeError('no path')
    return new Request(address, { method, headers, body, signal, duplex: 'half' } as RequestInit)
  } catch {
    throw badRequest('the method, the address or a header is none that a web-standard Request has')
  }
}

/** Of the socket, not HTTP/2's `:scheme`: behind a proxy neither tells what the browser used. */
const schemeOf = ({ socket }: IncomingMessage) => ((socket as Partial<TLSSocket>).encrypted ? 'https' : 'http')

/**
 * [spec] RFC 9112 §3.2, RFC 9113 §8.3.1: a request without a valid host is answered 400, and so is
 * one that names two.
 */
function hostOf({ headers }: IncomingMessage, named: string | undefined): string {
  const seen = [named, headers[':authority'], headers.host].filter((host) => host !== undefined).map(String)
  const [host = '', ...others] = new Set(seen.map((name) => name.toLowerCase()))
  if (others.length === 0 && HOST.test(host) && URL.canParse(`http://${host}`)) return host
  const what = seen.length === 0 ? 'none' : seen.map((name) => JSON.stringify(name.slice(0, 100))).join(' and ')
  throw new Refusal(400, 'bad-host', {}, `the request must name one host, as Host or as :authority; it names ${what}`)
}

/** Those that a middleware may have changed, not the raw ones. */
function headersOf(incoming: IncomingMessage): Headers {
  const headers = new Headers()
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (name.startsWith(':') || value === undefined) continue
    for (const one of [value].flat()) headers.append(name, one)
  }
  return headers
}
