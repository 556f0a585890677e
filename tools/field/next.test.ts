import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findBrowser, launch } from '../../demo/__tests__/_browser'
import { type App, createApp, run, startApp } from './app'
import { describeWith, findPackage } from './tools'

const FILES = {
  'package.json': JSON.stringify({ name: 'app', private: true, type: 'module' }),
  'next.config.mjs': 'export default {}',
  'app/layout.jsx': `export default function Layout({ children }) {
  return <html lang="en"><body>{children}</body></html>
}`,
  // Made where the module is evaluated: while the page is built, on the server that renders it, and in the browser.
  'app/connection.js': `'use client'
import { createConnection } from 'holdline'
export const connection = createConnection({ url: '/api/chat', storage: globalThis.localStorage })`,
  'app/page.jsx': `import { Chat } from './chat'
export default function Page() {
  return <Chat />
}`,
  'app/chat.jsx': `'use client'
import { useEffect, useState, useSyncExternalStore } from 'react'
import { connection } from './connection'
export function Chat() {
  const { phase } = useSyncExternalStore(connection.subscribe, connection.getSnapshot, connection.getSnapshot)
  const [said, say] = useState([])
  useEffect(() => {
    const off = connection.on('message', ({ text }) => say((before) => [...before, text]))
    connection.watch('s1')
    connection.connect()
    return () => {
      off()
      connection.disconnect()
    }
  }, [])
  const send = () => connection.send({ type: 'send', sessionId: 's1', prompt: 'hi' })
  return <main><output>{phase}</output><button onClick={send}>send</button><p>{said.join()}</p></main>
}`,
  // One server for all routes and reloads of this process: a module may be evaluated more than once.
  'lib/chat.js': `import { createChatServer } from 'holdline/server'
globalThis.chat ??= createChatServer({
  authenticate: () => ({ id: 'u' }),
  authorize: () => true,
  async onCommand({ sessionId, message, publish }) {
    await publish(sessionId, { type: 'echo', text: 'echo of ' + message.prompt })
    return { taken: true }
  },
})
export const { chat } = globalThis`,
  'app/api/chat/[endpoint]/route.js': `import { chat } from '../../../../lib/chat'
export const dynamic = 'force-dynamic'
export const GET = (request) => chat.fetch(request)
export const POST = (request) => chat.fetch(request)`,
}

/** Next and all that it needs; copies, because Turbopack follows no link out of the app. */
const PACKAGES = [
  ...['next', '@next', '@swc', 'react', 'react-dom', 'scheduler', 'styled-jsx', 'client-only', 'postcss', 'nanoid'],
  ...['picocolors', 'source-map-js', 'caniuse-lite', 'baseline-browser-mapping', 'tslib'],
]

const next = findPackage('next')
describeWith('Next 16, an app router page with a connection at module scope', { next, chromium: findBrowser() }, () => {
  let app: App
  let browser: Browser
  let server: Awaited<ReturnType<typeof startApp>>

  beforeAll(async () => {
    app = createApp(FILES, PACKAGES)
    browser = await launch(findBrowser() as string)
  })
  afterAll(async () => {
    await browser?.close()
    await server?.stop()
    app?.remove()
  })

  test('C80: next build takes a relative URL: nothing connects while it renders', async () => {
    const { code, output } = await run(process.execPath, [cli(), 'build'], app.folder)
    expect(output).not.toMatch(/ConnectionError|invalid-option/)
    expect([code, output]).toEqual([0, expect.stringContaining('/api/chat/[endpoint]')])
  })

  test('C80: next start serves it, and in a browser it connects to the route handler that runs the server half', async () => {
    server = await startApp([cli(), 'start', '--hostname', '127.0.0.1', '--port', '0'], app.folder)
    const page = await browser.newPage()
    const crashes: string[] = []
    page.on('pageerror', (error) => crashes.push(String(error)))
    const answer = await page.goto(server.url)
    expect(await answer?.text()).toContain('<output>idle</output>')
    await expect.poll(() => page.textContent('output'), { timeout: 60_000 }).toBe('open')
    await page.click('button')
    await expect.poll(() => page.textContent('p'), { timeout: 60_000 }).toBe('echo of hi')
    expect(crashes).toEqual([])
    await page.close()
  })

  const cli = () => join(app.folder, 'node_modules', 'next', 'dist', 'bin', 'next')
})
