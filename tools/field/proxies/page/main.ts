import { createConnection } from 'holdline'

const connection = createConnection({ url: '/api/chat', backoff: { base: 50, cap: 300 } })
const events: unknown[] = []
const lifecycle: string[] = []
connection.on('message', ({ n }) => events.push(n))
connection.on('opened', () => lifecycle.push('opened'))
connection.on('closed', ({ reason }) => lifecycle.push(`closed ${reason}`))
connection.watch('s1')
connection.connect()

const page = {
  tell: () => ({ phase: connection.phase, events, lifecycle }),
  send: (prompt: string) => connection.send({ type: 'send', sessionId: 's1', prompt }).settled,
}
export type Page = typeof page
Object.assign(window, { page })
