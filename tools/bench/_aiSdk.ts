import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createAdaptorServer } from '@hono/node-server'
import { type ChatTransport, createUIMessageStreamResponse, DefaultChatTransport, type UIMessage } from 'ai'
import { createConnection } from 'holdline'
import { createChatTransport } from 'holdline/ai-sdk'
import { uiMessageRuns } from 'holdline/ai-sdk/server'
import { createChatServer, memoryLog } from 'holdline/server'
import { createRuns } from 'holdline/server/runs'

// A server that answers with so many text deltas, and a second process of this program that reads
// them as useChat's transport does. Tells, for each delta: µs of CPU time of either, and bytes on
// the wire, everything included.

const [subject = '', url = '', count = '', words = '', pace = ''] = process.argv.slice(2)
const deltas = Number(count)
process.on('disconnect', () => process.exit())
if (url.startsWith('read:')) await read(url.slice('read:'.length))
else await serve()

async function serve() {
  const sockets = new Set<Socket>()
  const server = createAdaptorServer({ fetch: subject === 'holdline' ? createHoldline() : answerBare }) as Server
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const client = fork(fileURLToPath(import.meta.url), [subject, `read:${base}`, count])
  await once(client, 'message')
  const before = process.cpuUsage()
  const bytesBefore = written(sockets)
  client.send('go')
  const [read] = await once(client, 'message')
  const { user, system } = process.cpuUsage(before)
  const result = { ...read, server: (user + system) / deltas, bytes: (written(sockets) - bytesBefore) / deltas }
  process.send?.(result, () => process.exit())
}

function written(sockets: Iterable<Socket>): number {
  let bytes = 0
  for (const { bytesWritten } of sockets) bytes += bytesWritten
  return bytes
}

function createHoldline() {
  const server = createChatServer({
    authenticate: () => ({ id: 'somebody' }),
    authorize: () => true,
    log: memoryLog({ maxEvents: 10 * deltas + 1_000 }),
    onCommand: (call) => onCommand(call),
  })
  const runs = createRuns({ server })
  const onCommand = uiMessageRuns({ runs, stream: answer })
  return server.fetch
}

function answerBare(): Response {
  return createUIMessageStreamResponse({ stream: answer() })
}

/** About a token each. */
function answer() {
  let at = -3
  return new ReadableStream(
    {
      async pull(controller) {
        at++
        if (at < 0) return controller.enqueue({ type: 'text-start', id: at === -2 ? 'a' : 'b' })
        if (at === deltas) return controller.close()
        if (Number(pace)) await sleep(Number(pace))
        const id = words === 'single' && at % 2 ? 'b' : 'a'
        controller.enqueue({ type: 'text-delta', id, delta: ` tok${String(at % 10)}` })
      },
    },
    { highWaterMark: 0 },
  )
}

async function read(base: string) {
  const transport = await createTransport(base)
  process.send?.('ready')
  await once(process, 'message')
  const before = process.cpuUsage()
  const messages: UIMessage[] = [{ id: 'm1', role: 'user', parts: [{ type: 'text', text: 'tell me' }] }]
  const options = { chatId: 'chat', messages, messageId: undefined, abortSignal: undefined }
  const stream = await transport.sendMessages({ trigger: 'submit-message', ...options })
  let characters = 0
  for await (const chunk of stream) if (chunk.type === 'text-delta') characters += chunk.delta.length
  const { user, system } = process.cpuUsage(before)
  if (characters !== 5 * deltas) throw new Error(`${subject}: ${characters} characters in place of ${5 * deltas}`)
  process.send?.({ client: (user + system) / deltas }, () => process.exit())
}

async function createTransport(base: string): Promise<ChatTransport<UIMessage>> {
  if (subject === 'bare') return new DefaultChatTransport({ api: `${base}/api/chat` })
  const connection = createConnection({ url: `${base}/api/line` })
  const opened = new Promise((resolve) => connection.on('opened', resolve))
  connection.connect()
  await opened
  return createChatTransport(connection)
}
