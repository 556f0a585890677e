import { type ContractPromise, type Serve, transportContract } from 'holdline/testing'
import type { TransportName } from '../contract'
import { createClient } from '../createClient'
import type { FromPage, ToPage } from './relay'

/**
 * The whole of a case runs in this page, the server half too. What the client asks for goes to the
 * relay and comes back here.
 */

type Fetch = (request: Request) => Promise<Response>

const relay = new WebSocket(`${location.origin.replace('http', 'ws')}/relay`)
const connected = new Promise<unknown>((resolve) => relay.addEventListener('open', resolve))
const hosts = new Map<string, Fetch>()
const readers = new Map<number, ReadableStreamDefaultReader<Uint8Array>>()
const say = (frame: FromPage) => relay.send(JSON.stringify(frame))

relay.addEventListener('message', ({ data }) => {
  const frame: ToPage = JSON.parse(data)
  if (frame.type === 'request') void answer(frame)
  else readers.get(frame.id)?.cancel()
})

async function answer({ id, method, url, headers, body }: Extract<ToPage, { type: 'request' }>) {
  try {
    const host = hosts.get(new URL(url).pathname.split('/')[1] ?? '')
    if (!host) return say({ type: 'error', id })
    const response = await host(new Request(url, { method, headers: [...headers.map(([...pair]) => pair)], body }))
    say({ type: 'response', id, status: response.status, headers: [...response.headers] })
    const reader = response.body?.getReader()
    if (!reader) return say({ type: 'end', id })
    readers.set(id, reader)
    const decoder = new TextDecoder()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      say({ type: 'chunk', id, text: decoder.decode(value, { stream: true }) })
    }
    say({ type: 'end', id })
  } catch {
    say({ type: 'error', id })
  } finally {
    readers.delete(id)
  }
}

let count = 0
const over =
  (transport: TransportName, needs: ContractPromise | undefined): Serve =>
  async (fetch) => {
    await connected
    const name = `case-${++count}`
    hosts.set(name, fetch)
    const cut = () => say({ type: 'cut' })
    return {
      ...createClient(transport, needs),
      url: `${location.origin}/${name}/api/chat`,
      cut,
      async close() {
        cut()
        hosts.delete(name)
      },
    }
  }

/** Why it failed; null if it did not. */
export function runCase(transport: TransportName, name: string): Promise<string | null> {
  const found = transportContract.find((contractCase) => contractCase.name === name)
  if (!found) return Promise.resolve('there is no such case')
  return found.run(over(transport, found.needs)).then(
    () => null,
    (error: unknown) => `${error}\n${(error as Error).stack}`,
  )
}

Object.assign(globalThis, { runCase })
