import { createConnection } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { sessionStore } from 'holdline/sessions'
import { history } from '../../../examples/recipes/history/page'
import { createHistoryServer } from '../../../examples/recipes/history/server'

// A server and a page, in one process: it says something, the server is restarted and forgets its
// log, and another page reads the transcript and goes on.

const [path = ''] = process.argv.slice(2)

async function visit(prompt: string) {
  const server = createHistoryServer(path)
  globalThis.fetch = (async (url: string) => server.history(url.split('/').at(-1) ?? '')) as typeof fetch
  const connection = createConnection({
    url: 'http://localhost/chat',
    transport: fetchStreamTransport,
    fetch: (url, init) => server.chat.fetch(new Request(url, init)),
  })
  const store = sessionStore(connection, 's1', history)
  const seen: string[] = []
  let look = () => {}
  const leave = store.subscribe(({ state, status }) => {
    seen.push(`${status}: ${state.map(({ text }) => text).join(', ')}`)
    look()
  })
  const until = (text: string) =>
    new Promise<void>((resolve) => {
      look = () => seen.at(-1) === text && resolve()
      look()
    })
  connection.connect()
  await connection.whenOpen()
  await connection.send({ type: 'send', sessionId: 's1', prompt }).settled
  const before = prompt === 'two' ? 'one, echo of one, ' : ''
  await until(`live: ${before}${prompt}, echo of ${prompt}`)
  leave()
  connection.dispose()
  await server.close()
  return seen.at(-1)
}

console.log(JSON.stringify([await visit('one'), await visit('two')]))
process.exit()
