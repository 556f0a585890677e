import { readFile, writeFile } from 'node:fs/promises'
import { bearer, createAgent } from './agent'

const { URL: url = '', SESSION: sessionId = '', TOKEN_FILE = '', CURSOR_FILE = '' } = process.env

const saved = await readFile(CURSOR_FILE, 'utf8').catch(() => null)
const agent = createAgent(
  {
    url,
    headers: bearer(async () => (await readFile(TOKEN_FILE, 'utf8')).trim()),
    cursors: saved ? [JSON.parse(saved)] : [],
  },
  {
    sessionId,
    perform: async ({ prompt }) => `${prompt.length} characters`,
    save: (cursor) => writeFile(CURSOR_FILE, JSON.stringify(cursor)),
    fail,
  },
)
agent.connection.on('stopped', ({ error }) => fail(error))
process.once('SIGTERM', () => {
  console.log('stopping')
  void agent.stop()
})

/** It will not come back by itself, so whoever started the process is to know. */
function fail(error: unknown) {
  console.error(error)
  process.exitCode = 1
}
