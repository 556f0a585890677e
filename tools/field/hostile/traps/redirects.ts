import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startHostileServer } from '../hostileServer'
import type { Program } from '../programs'
import { type ClientWire, pause, type Trap, until } from '../trap'
import type { VictimProcess } from '../victimProcess'
import { found } from '../wire'

/** [spec] Fetch: 307 and 308 keep the method and the body; the others make a POST a GET. */
const STATUSES = [307, 308, 303, 302, 301]

/** Everything that reaches the other origin with something in it that it must not have. */
async function startOtherOrigin() {
  const leaks: string[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    const secrets = secretsIn(request, body)
    if (secrets.length) leaks.push(`${request.method} ${request.url} with ${secrets.join(', ')}`)
    if (String(request.url).endsWith('/events')) {
      const welcome = { type: 'welcome', protocolVersion: 2, connectionId: 'of-the-other-origin', features: [] }
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Access-Control-Allow-Origin': '*' })
      response.write(`event: welcome\ndata: ${JSON.stringify(welcome)}\n\n`)
      return
    }
    response.writeHead(200, { 'Content-Type': 'application/json' }).end('{"ok":true}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    leaks,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

const secretsIn = ({ headers }: IncomingMessage, body: string) => [
  ...(['authorization', 'x-api-key', 'idempotency-key', 'x-connection-id'] as const).filter((name) => headers[name]),
  ...(body.includes('secret') ? ['the prompt'] : []),
]

/** Every POST, then every stream, is sent to another origin. */
export const redirects: Trap = {
  row: 'C103',
  name: 'redirects to another origin',
  over: ['eventsource', 'fetch'],
  async run(victim, over) {
    const other = await startOtherOrigin()
    let status = 307
    let redirected: 'send' | 'events' = 'send'
    const server = await startHostileServer({
      features: ['receipts', 'idempotency'],
      onRequest({ url }, response) {
        if (!url?.endsWith(`/${redirected}`)) return false
        response.writeHead(status, { Location: `${other.origin}${url}` }).end()
        return true
      },
    })
    const accepted: number[] = []
    for (status of STATUSES) {
      await openAt(victim, server.url, over)
      const { verdict } = await Promise.race([sendOnce(victim), pause(800).then(() => ({ verdict: 'none' }))])
      if (verdict === 'accepted') accepted.push(status)
    }
    redirected = 'events'
    status = 307
    await victim.ask.open(server.url, over)
    await until(async () => (await victim.ask.look()).connectionId === 'of-the-other-origin', 1_500)
    const { connectionId } = await victim.ask.look()
    const { leaks } = other
    await server.close()
    other.close()
    return found(
      { leaks: leaks.length },
      leaks.length > 0 && `another origin was told secrets: ${[...new Set(leaks)].slice(0, 3).join('; ')}`,
      accepted.length > 0 && `accepted by another origin, after a redirect with ${accepted.join(', ')}`,
      connectionId === 'of-the-other-origin' && 'the welcome of a redirected stream was adopted',
    )
  },
}

async function openAt(victim: Program<VictimProcess>, url: string, over: ClientWire) {
  await victim.ask.open(url, over)
  await until(async () => (await victim.ask.look()).phase === 'open')
}

const sendOnce = async (victim: Program<VictimProcess>) => ({ verdict: (await victim.ask.send()).status })
