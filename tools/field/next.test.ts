import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findBrowser, launch } from '../shared/browser'
import { type App, createApp, run, startApp } from './app'
import { onNode } from './place'
import { describeWith, findPackage } from './tools'

/** A file of examples/recipes, as it is. */
const recipe = (path: string) => readFileSync(new URL(`../../examples/recipes/${path}`, import.meta.url), 'utf8')
/** One of those that Next wants at a place of its own, from where the others are. */
const placed = (path: string, others: string) => recipe(`next/${path}`).replace("'./", `'${others}/`)

/** Where docs/recipes.md puts them. */
const FILES = {
  'package.json': JSON.stringify({ name: 'app', private: true, type: 'module' }),
  'next.config.mjs': 'export default {}',
  'app/layout.tsx': `import type { ReactNode } from 'react'
export default function Layout({ children }: { children: ReactNode }) {
  return <html lang="en"><body>{children}</body></html>
}`,
  'app/page.tsx': placed('page.tsx', '../chat/next'),
  'app/api/chat/[endpoint]/route.ts': placed('route.ts', '../../../../chat/next'),
  ...Object.fromEntries(
    [
      ...['chat.ts', 'status.ts', 'react/connection.tsx', 'react/Chat.tsx'],
      ...['next/server.ts', 'next/connection.ts', 'next/ChatPage.tsx'],
    ].map((path) => [`chat/${path}`, recipe(path)]),
  ),
}

/** Next and all that it needs; copies, because Turbopack follows no link out of the app. */
const PACKAGES = [
  ...['next', '@next', '@swc', 'react', 'react-dom', 'scheduler', 'styled-jsx', 'client-only', 'postcss', 'nanoid'],
  ...['picocolors', 'source-map-js', 'caniuse-lite', 'baseline-browser-mapping', 'tslib'],
]
/** With these `next build` checks the types. */
const TYPES = ['typescript', '@types/node', '@types/react', '@types/react-dom', 'csstype', 'undici-types']

const next = findPackage('next')
const place = onNode('Next 16, an app router page with a connection at module scope', { host: 'Next 16' })
describeWith(place, { next, chromium: findBrowser() }, () => {
  let app: App
  let browser: Browser
  let server: Awaited<ReturnType<typeof startApp>>

  beforeAll(async () => {
    app = createApp(FILES, PACKAGES, TYPES)
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
    expect(await answer?.text()).toContain('<output>not connected</output>')
    await expect.poll(() => page.textContent('output'), { timeout: 60_000 }).toBe('online')
    await page.fill('input', 'hi')
    await page.click('button')
    await expect
      .poll(() => page.locator('li').allTextContents(), { timeout: 60_000 })
      .toEqual([expect.stringMatching(/^hi\s*$/), expect.stringMatching(/^echo of hi\s*$/)])
    expect(crashes).toEqual([])
  })

  test('SIGTERM ends the streams of open pages, and with them next start', async () => {
    const [page] = browser.contexts().flatMap((context) => context.pages())
    expect(await page?.textContent('output')).toBe('online')
    await server.stop()
    await expect.poll(() => page?.textContent('output'), { timeout: 60_000 }).toMatch(/^(no connection|connecting)/)
  })

  const cli = () => join(app.folder, 'node_modules', 'next', 'dist', 'bin', 'next')
})
