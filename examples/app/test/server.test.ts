import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createConnection } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { memoryLog } from 'holdline/server'
import { fileStore } from 'holdline/server/node'
import { createTranscripts } from 'holdline/server/transcripts'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createChat } from '../server/chat'
import { createLogin } from '../server/login'
import { createRoutes } from '../server/routes'
import { createSessions } from '../server/sessions'
import { readSettings } from '../server/settings'
import { createUploads } from '../server/uploads'
import { chat } from '../shared/protocol'
import { breakOff, EMPTY, reduce, type Transcript } from '../shared/transcript'

// The server half without a port: requests are handed to its routes. Files are in a folder of the
// test.

let data = ''
beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'chat-'))
})
afterEach(() => rmSync(data, { recursive: true }))

/** As in main.ts. Each call is a process of its own, whose log is empty. */
function startProcess() {
  const settings = { ...readSettings({ NODE_ENV: 'development' }), data }
  const login = createLogin(settings)
  const sessions = createSessions(settings)
  const store = fileStore(join(data, 'transcripts'))
  const transcripts = createTranscripts({ protocol: chat, log: memoryLog(), store, initial: EMPTY, reduce, breakOff })
  const uploads = createUploads(settings)
  const { server, runs } = createChat({ ...settings, login, sessions, transcripts, uploads })
  const app = createRoutes({ login, sessions, transcripts, uploads, server })
  return { app, server, runs, transcripts }
}

/** A browser of Ann's that has logged in. */
async function visit({ app }: ReturnType<typeof startProcess>) {
  const body = JSON.stringify({ name: 'ann', password: 'ann' })
  const answer = await app.request('/api/login', { method: 'POST', body })
  const [cookie = ''] = answer.headers.get('Set-Cookie')?.split(';') ?? []
  const call = async (path: string, init: RequestInit = {}) =>
    app.request(path, { ...init, headers: { ...Object.fromEntries(new Headers(init.headers)), cookie } })
  const line = createConnection({
    url: 'http://localhost/api/users/ann/chat',
    protocol: chat,
    transport: fetchStreamTransport,
    fetch: (url, init) => call(String(url), init),
  })
  line.connect()
  await line.whenOpen()
  const history = async (session: string) => {
    const { state } = (await (await call(`/api/users/ann/sessions/${session}/history`)).json()) as { state: Transcript }
    return state.map((entry) => (entry.from === 'user' ? entry.text : entry.state))
  }
  return { call, line, history }
}

test('what was said outlives the process and its log, and an answer that was under way is interrupted', async () => {
  const first = startProcess()
  const { call, line, history } = await visit(first)
  const { id } = (await (await call('/api/users/ann/sessions', { method: 'POST' })).json()) as { id: string }
  const say = (prompt: string) => line.send({ type: 'send', sessionId: id, prompt, files: [] }).settled
  expect(await say('count to 1')).toMatchObject({ status: 'accepted' })
  await first.runs.idle()
  expect(await history(id)).toEqual(['count to 1', 'finished'])
  expect(await say('count to 9999')).toMatchObject({ status: 'accepted' })

  // The first one is killed: nothing of it is closed.
  const second = startProcess()
  const after = await visit(second)
  expect(await after.history(id)).toEqual(['count to 1', 'finished', 'count to 9999', 'interrupted'])

  for (const end of [line, after.line]) end.dispose()
  await first.runs.stop(id)
  for (const { server, transcripts } of [first, second]) {
    await server.close()
    await transcripts.close()
  }
})

test('a logout ends the line of another tab, which is refused from then on', async () => {
  const process = startProcess()
  const { call, line } = await visit(process)
  const stopped = new Promise((resolve) => line.on('stopped', ({ error }) => resolve(error.code)))
  await call('/api/logout', { method: 'POST' })
  expect(await stopped).toBe('unauthorized')
  // With the cookie that it still has.
  expect((await call('/api/users/ann/sessions')).status).toBe(401)
  line.dispose()
  await process.server.close()
})
