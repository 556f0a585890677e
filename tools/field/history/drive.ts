import { DatabaseSync } from 'node:sqlite'
import { createConnection } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { sessionStore } from 'holdline/sessions'
import { history } from '../../../examples/recipes/history/page'
import { createHistoryServer } from '../../../examples/recipes/history/server'
import { sqliteStore } from '../../../examples/recipes/history/sqliteStore'

// A server and a page, in one process: it says something, the server is restarted and forgets its
// log, and another page reads the transcript and goes on. Then two processes save one session.

const [path = ''] = process.argv.slice(2)

async function visit(prompt: string) {
  const { server, ...app } = createHistoryServer(path)
  globalThis.fetch = (async (url: string) => app.history(url.split('/').at(-1) ?? '')) as typeof fetch
  const connection = createConnection({
    url: 'http://localhost/chat',
    transport: fetchStreamTransport,
    fetch: (url, init) => server.fetch(new Request(url, init)),
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
  await app.close()
  return seen.at(-1)
}

async function overtake() {
  const [one, other] = [new DatabaseSync(path), new DatabaseSync(path)].map(sqliteStore)
  const at = (lastSeq: number) => ({ lastSeq, epoch: 'e' })
  const save = (store: typeof one, cursor: number, before?: number) =>
    store?.save('s2', { state: cursor, cursor: at(cursor) }, before === undefined ? undefined : at(before))
  return [save(one, 1), save(other, 9), save(other, 2, 1), save(one, 9, 1), (await one?.load('s2'))?.state]
}

console.log(JSON.stringify([await visit('one'), await visit('two'), await overtake()]))
process.exit()
