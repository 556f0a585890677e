import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../shared/freePort'
import { type Started, start } from '../process'
import type { Engine } from './engine'

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
    return await createSession(`http://127.0.0.1:${port}`, miniBrowser, driver, stop)
  } catch (error) {
    await stop()
    throw error
  }
}

async function createSession(
  base: string,
  binary: string,
  driver: Started,
  stop: () => Promise<void>,
): Promise<Engine> {
  const call = createCaller(base)
  await untilItListens(base, driver)
  const { sessionId, capabilities } = await call<{
    sessionId: string
    capabilities: { browserVersion: string }
  }>('POST', '/session', {
    capabilities: {
      alwaysMatch: {
        browserName: 'MiniBrowser',
        'webkitgtk:browserOptions': { binary, args: ['--automation'] },
        timeouts: { script: LONG, pageLoad: LONG },
      },
    },
  })
  const session = `/session/${sessionId}`
  // Commands go to the window that is current: one at a time.
  let last: Promise<unknown> = Promise.resolve()
  const inWindow = <Value>(handle: string, use: () => Promise<Value>): Promise<Value> => {
    const next = last.then(async () => {
      await call('POST', `${session}/window`, { handle })
      return use()
    })
    last = next.catch(() => {})
    return next
  }
  const [first = ''] = await call<string[]>('GET', `${session}/window/handles`)

  return {
    name: 'WebKit',
    version: capabilities.browserVersion,
    async open(url) {
      const { handle } = await inWindow(first, () =>
        call<{ handle: string }>('POST', `${session}/window/new`, { type: 'window' }),
      )
      await inWindow(handle, () => call('POST', `${session}/url`, { url }))
      return {
        async evaluate<Value>(expression: string) {
          const script = `const done = arguments[0]
            Promise.resolve().then(() => (${expression})).then((value) => done({ value }), (error) => done({ error: String(error) }))`
          const { value, error } = await inWindow(handle, () =>
            call<{ value: Value; error?: string }>('POST', `${session}/execute/async`, { script, args: [] }),
          )
          if (error !== undefined) throw new Error(error)
          return value
        },
        click: (selector) =>
          inWindow(handle, async () => {
            const found = await call<Record<string, string>>('POST', `${session}/element`, {
              using: 'css selector',
              value: selector,
            })
            await call('POST', `${session}/element/${Object.values(found)[0]}/click`, {})
          }),
        close: () => inWindow(handle, () => call('DELETE', `${session}/window`)),
      }
    },
    async close() {
      await call('DELETE', session).catch(() => {})
      await stop()
    },
  }
}

/** ms. */
const LONG = 120_000

const createCaller =
  (base: string) =>
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
