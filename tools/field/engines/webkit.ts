import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../shared/freePort'
import { type Started, start } from '../process'
import type { Engine, Tab } from './engine'

/** Where Debian and its relatives put it. */
export function findMiniBrowser(): string | undefined {
  const given = process.env.MINIBROWSER_PATH
  if (given) return existsSync(given) ? given : undefined
  const folders = [
    '/usr/lib',
    ...(existsSync('/usr/lib') ? readdirSync('/usr/lib') : []).map((name) => `/usr/lib/${name}`),
  ]
  return ['webkit2gtk-4.1', 'webkitgtk-6.0', 'webkit2gtk-4.0']
    .flatMap((version) => folders.map((folder) => join(folder, version, 'MiniBrowser')))
    .find((path) => existsSync(path))
}

/** WebKitGTK's MiniBrowser over plain WebDriver, on a display of its own. */
export async function launchWebKit(
  miniBrowser: string,
  tools: { readonly driver: string; readonly xvfb: string },
): Promise<Engine> {
  const home = mkdtempSync(join(tmpdir(), 'holdline-webkit-'))
  const started: Started[] = []
  const stop = async () => {
    for (const process of started.reverse()) await process.stop()
    rmSync(home, { recursive: true, force: true })
  }
  try {
    // It picks a display that is free, and says which.
    const display = start(tools.xvfb, ['-displayfd', '1', '-screen', '0', '1400x1000x24', '-nolisten', 'tcp'])
    started.push(display)
    const number = await new Promise<string>((resolve, reject) => {
      display.onLine(resolve)
      display.exited.then((code) => reject(new Error(`Xvfb ended with ${code}: ${display.complaint()}`)))
    })
    const port = await freePort()
    const driver = start(tools.driver, [`--port=${port}`, '--host=127.0.0.1'], {
      env: {
        ...process.env,
        HOME: home,
        DISPLAY: `:${number}`,
        GDK_BACKEND: 'x11',
        NO_AT_BRIDGE: '1',
        LIBGL_ALWAYS_SOFTWARE: '1',
      },
    })
    started.push(driver)
    const base = `http://127.0.0.1:${port}`
    await untilItListens(base, driver)
    return await Session.create(createCaller(base), miniBrowser, stop)
  } catch (error) {
    await stop()
    throw error
  }
}

class Session implements Engine {
  readonly name = 'WebKit'
  readonly version: string
  readonly #call: Caller
  readonly #path: string
  readonly #stop: () => Promise<void>
  /** Of the window that was there first. */
  readonly #first: string
  #last: Promise<unknown> = Promise.resolve()

  static async create(call: Caller, binary: string, stop: () => Promise<void>): Promise<Session> {
    const alwaysMatch = {
      browserName: 'MiniBrowser',
      'webkitgtk:browserOptions': { binary, args: ['--automation'] },
      timeouts: { script: LONG, pageLoad: LONG },
    }
    const made = await call<Made>('POST', '/session', { capabilities: { alwaysMatch } })
    const [first = ''] = await call<string[]>('GET', `/session/${made.sessionId}/window/handles`)
    return new Session({ call, stop, first, made })
  }

  private constructor({ call, stop, first, made }: SessionParts) {
    this.version = made.capabilities.browserVersion
    this.#path = `/session/${made.sessionId}`
    this.#call = call
    this.#stop = stop
    this.#first = first
  }

  async open(url: string): Promise<Tab> {
    const { handle } = await this.#in<{ handle: string }>(this.#first, 'POST', '/window/new', { type: 'window' })
    await this.#in(handle, 'POST', '/url', { url })
    return {
      evaluate: (expression) => this.#evaluate(handle, expression),
      click: (selector) => this.#click(handle, selector),
      close: () => this.#in(handle, 'DELETE', '/window'),
    }
  }

  async close() {
    await this.#call('DELETE', this.#path).catch(() => {})
    await this.#stop()
  }

  /** Commands go to the window that is current: one at a time. */
  #inWindow<Value>(handle: string, use: () => Promise<Value>): Promise<Value> {
    const next = this.#last.then(async () => {
      await this.#call('POST', `${this.#path}/window`, { handle })
      return use()
    })
    this.#last = next.catch(() => {})
    return next
  }

  #in<Value>(handle: string, ...[method, path, body]: Parameters<Caller>): Promise<Value> {
    return this.#inWindow(handle, () => this.#call<Value>(method, this.#path + path, body))
  }

  async #evaluate<Value>(handle: string, expression: string): Promise<Value> {
    const script = `const done = arguments[0]
      Promise.resolve().then(() => (${expression})).then((value) => done({ value }), (error) => done({ error: String(error) }))`
    const work = { script, args: [] }
    const { value, error } = await this.#in<Outcome<Value>>(handle, 'POST', '/execute/async', work)
    if (error !== undefined) throw new Error(error)
    return value
  }

  #click(handle: string, selector: string): Promise<void> {
    return this.#inWindow(handle, async () => {
      const element = { using: 'css selector', value: selector }
      const found = await this.#call<Record<string, string>>('POST', `${this.#path}/element`, element)
      await this.#call('POST', `${this.#path}/element/${Object.values(found)[0]}/click`, {})
    })
  }
}

interface Made {
  readonly sessionId: string
  readonly capabilities: { readonly browserVersion: string }
}

interface SessionParts {
  readonly call: Caller
  readonly stop: () => Promise<void>
  readonly first: string
  readonly made: Made
}

interface Outcome<Value> {
  readonly value: Value
  readonly error?: string
}

/** ms. */
const LONG = 120_000

type Caller = <Value>(method: string, path: string, body?: object) => Promise<Value>

const createCaller =
  (base: string): Caller =>
  async <Value>(method: string, path: string, body?: object): Promise<Value> => {
    const response = await fetch(base + path, { method, ...(body && { body: JSON.stringify(body) }) })
    const { value } = (await response.json()) as {
      value: Value & { readonly error?: string; readonly message?: string }
    }
    if (!response.ok) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`)
    return value
  }

async function untilItListens(base: string, driver: Started) {
  let hasEnded = false
  driver.exited.then(() => (hasEnded = true))
  while (
    !(await fetch(`${base}/status`).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    if (hasEnded) throw new Error(`WebKitWebDriver ended: ${driver.complaint()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
