import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { transformSync } from 'esbuild'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findBrowser, launch } from '../../demo/__tests__/_browser'
import { type App, createApp, run, startApp } from './app'
import { describeWith, findPackage } from './tools'

/** A file of examples/recipes/next, without its types. */
const recipe = (name: string) =>
  transformSync(readFileSync(new URL(`../../examples/recipes/next/${name}.ts`, import.meta.url), 'utf8'), {
    loader: 'ts',
  }).code

const FILES = {
  'package.json': JSON.stringify({ name: 'app', private: true, type: 'module' }),
  'next.config.mjs': 'export default {}',
  'app/layout.jsx': `export default function Layout({ children }) {
  return <html lang="en"><body>{children}</body></html>
}`,
  'app/connection.js': recipe('connection'),
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
  'app/api/chat/[endpoint]/chat.js': recipe('chat'),
  'app/api/chat/[endpoint]/route.js': recipe('route'),
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
