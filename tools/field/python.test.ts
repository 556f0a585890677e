import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ForeignServer, testForeignServer } from '../shared/foreignServer'
import { freePort } from '../shared/freePort'
import { start as startProcess } from './process'
import { describeWith, findTool } from './tools'

const SERVER = fileURLToPath(new URL('../../examples/servers/python/server.py', import.meta.url))

/**
 * One that has Starlette: Debian's packages are for its own Python, which need not be the first.
 */
function findPython(): string | undefined {
  return ['/usr/bin/python3', findTool('python3')].find(
    (path) => path && spawnSync(path, ['-c', 'import starlette, uvicorn']).status === 0,
  )
}

const python = findPython()

async function start(): Promise<ForeignServer> {
  const port = await freePort()
  const folder = await mkdtemp(join(tmpdir(), 'holdline-python-'))
  const env = { ...process.env, PORT: String(port), CHAT_DB: join(folder, 'chat.db') }
  const begin = () => startProcess(python ?? 'python3', [SERVER], { env })
  let running = begin()

  async function isUp() {
    for (;;) {
      const answer = await fetch(`http://127.0.0.1:${port}/api/chat/events`).catch(() => undefined)
      await answer?.text()
      if (answer) return
      const ended = await Promise.race([running.exited.then(() => true), new Promise((go) => setTimeout(go, 100))])
      if (ended) throw new Error(`the server has ended: ${running.complaint()}`)
    }
  }
  async function again(signal: NodeJS.Signals) {
    running.signal(signal)
    await running.exited
    running = begin()
    await isUp()
  }
  await isUp()
  return {
    port,
    restart: () => again('SIGTERM'),
    crash: () => again('SIGKILL'),
    async stop() {
      running.signal('SIGTERM')
      await running.exited
      await rm(folder, { recursive: true, force: true })
    },
  }
}

describeWith('examples/servers/python', { 'python3 with starlette and uvicorn': python }, () => {
  testForeignServer(start, { keepsLog: true })
})
