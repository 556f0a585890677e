import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Started, start } from '../field/process'
import { freePort } from './freePort'

const SERVER = fileURLToPath(new URL('../../examples/servers/python/server.py', import.meta.url))

export interface PythonOptions {
  /** Default: any free one. */
  readonly port?: number
  /** s. Default: the server's own. */
  readonly heartbeat?: number
}

/**
 * One that has Starlette: Debian's packages are for its own Python, which need not be the first.
 * `PYTHON3_PATH` names another.
 */
export function findPython(): string | undefined {
  return [process.env.PYTHON3_PATH, '/usr/bin/python3', 'python3'].find(
    (path) => path && spawnSync(path, ['-c', 'import starlette, uvicorn']).status === 0,
  )
}

/** `examples/servers/python` in a process of its own, with a log of its own. */
export async function startPython(options: PythonOptions = {}): Promise<PythonServer> {
  const python = findPython()
  if (!python) throw new Error('There is no Python with Starlette: apt-get install python3-starlette python3-uvicorn')
  const folder = await mkdtemp(join(tmpdir(), 'holdline-python-'))
  const server = new PythonServer(python, folder, { port: await freePort(), ...options })
  await server.begin()
  return server
}

export class PythonServer {
  readonly port: number
  readonly #python: string
  readonly #folder: string
  readonly #env: NodeJS.ProcessEnv
  #running: Started | undefined

  constructor(python: string, folder: string, { port, heartbeat }: PythonOptions & { readonly port: number }) {
    this.port = port
    this.#python = python
    this.#folder = folder
    this.#env = {
      ...process.env,
      PORT: String(port),
      CHAT_DB: join(folder, 'chat.db'),
      ...(heartbeat !== undefined && { HEARTBEAT: String(heartbeat) }),
    }
  }

  /** Its base URL. */
  get url(): string {
    return `http://127.0.0.1:${this.port}/api/chat`
  }

  /** The end of what it wrote to its standard error. */
  get complaint(): string {
    return this.#running?.complaint() ?? ''
  }

  /** Resolves once it answers. */
  async begin() {
    const running = start(this.#python, [SERVER], { env: this.#env })
    this.#running = running
    let hasEnded = false
    void running.exited.then(() => {
      hasEnded = true
    })
    for (;;) {
      const answer = await fetch(`${this.url}/events`).catch(() => undefined)
      await answer?.text()
      if (answer) return
      if (hasEnded) throw new Error(`The Python server has ended: ${running.complaint()}`)
      await sleep(100)
    }
  }

  /** Ends it, and starts it on the same port and the same log again. */
  readonly again = async (signal: NodeJS.Signals): Promise<this> => {
    await this.#end(signal)
    await this.begin()
    return this
  }

  /** As its host would end it. Its log is gone after that. */
  readonly stop = async () => {
    await this.#end('SIGTERM')
    await rm(this.#folder, { recursive: true, force: true })
  }

  async #end(signal: NodeJS.Signals) {
    this.#running?.signal(signal)
    await this.#running?.exited
  }
}
