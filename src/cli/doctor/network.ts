import { lookup } from 'node:dns/promises'
import { connect, isIP } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { Address, Outcome, Tls } from './observation'

// Below HTTP.

const DAY = 86_400_000
/** Of an answer to nonsense, characters. */
const ENOUGH = 2_000

/** Without the brackets of an IPv6 address. */
const hostOf = ({ hostname }: URL) => hostname.replace(/^\[|\]$/g, '')
const portOf = ({ protocol, port }: URL) => Number(port || (protocol === 'https:' ? 443 : 80))
const reasonOf = (error: unknown) => String(Object(error).code ?? Object(error).message ?? error)

export async function lookUp(url: URL): Promise<Outcome<Address>> {
  const since = performance.now()
  try {
    const found = await lookup(hostOf(url), { all: true })
    return { addresses: found.map(({ address }) => address), ms: performance.now() - since }
  } catch (error) {
    return { failed: reasonOf(error) }
  }
}

/** As a browser does that speaks HTTP/2. A certificate that is not trusted is told, not thrown. */
export function shakeHands(url: URL, timeout: number): Promise<Outcome<Tls>> {
  return new Promise((resolve) => {
    const host = hostOf(url)
    const socket = connectTls({
      host,
      port: portOf(url),
      // [spec] RFC 6066: an address is no server name.
      ...(isIP(host) === 0 && { servername: host }),
      ALPNProtocols: ['h2', 'http/1.1'],
      rejectUnauthorized: false,
    })
    const end = (outcome: Outcome<Tls>) => {
      socket.destroy()
      resolve(outcome)
    }
    socket.setTimeout(timeout, () => end({ failed: `no handshake within ${timeout} ms` }))
    socket.once('error', (error) => end({ failed: reasonOf(error) }))
    socket.once('secureConnect', () => end(tlsOf(socket)))
  })
}

function tlsOf(socket: TLSSocket): Tls {
  const { authorized, authorizationError, alpnProtocol } = socket
  return {
    version: socket.getProtocol() ?? 'TLS',
    http: alpnProtocol === 'h2' || alpnProtocol === 'http/1.1' ? alpnProtocol : undefined,
    distrust: authorized ? undefined : reasonOf(authorizationError),
    days: Math.floor((Date.parse(socket.getPeerCertificate().valid_to) - Date.now()) / DAY),
  }
}

/** The answer to a request that is no HTTP, which each proxy words in its own way; '' for none. */
export function sayNonsense(url: URL, timeout: number): Promise<string> {
  return new Promise((resolve) => {
    const [host, port] = [hostOf(url), portOf(url)]
    const socket =
      url.protocol === 'https:'
        ? connectTls({ host, port, ...(isIP(host) === 0 && { servername: host }), ALPNProtocols: ['http/1.1'] })
        : connect(port, host)
    let text = ''
    const end = () => {
      socket.destroy()
      resolve(text)
    }
    socket.setTimeout(Math.min(timeout, 2_000), end)
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1')
      if (text.length >= ENOUGH) end()
    })
    socket.once('error', end).once('close', end)
    socket.write('GET / HTTP/1.1\r\nno header\r\n\r\n')
  })
}
