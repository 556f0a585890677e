import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { runInNewContext } from 'node:vm'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findBrowser, launch } from '../shared/browser'
import { type App, createApp, startChat } from './app'
import { onNode } from './place'
import { describeWith, findPackage } from './tools'

/** Sends a prompt, hears its echo, and says both in the title. */
const page = (imports: string, options: string) => `
${imports}
import { createConnection } from 'holdline'
const connection = createConnection({ url: '/api/chat', ${options} })
connection.watch('s1')
connection.on('message', async ({ text }) => {
  document.title = text + ' ' + (await delivery.settled).status
})
connection.connect()
const delivery = connection.send({ type: 'send', sessionId: 's1', prompt: 'echo' })
`
const PAGES: Readonly<Record<string, string>> = {
  holdline: page('', ''),
  'holdline/adapters': page(
    "import { eventSourceTransport, fetchStreamTransport } from 'holdline/adapters'\nwindow.other = eventSourceTransport",
    'transport: fetchStreamTransport',
  ),
  // The server half speaks no WebSocket here: the entry is loaded, and the line is the default one.
  'holdline/adapters/websocket': page(
    "import { webSocketTransport } from 'holdline/adapters/websocket'\nwindow.other = webSocketTransport()",
    '',
  ),
}
const nameOf = (entry: string) => entry.replaceAll('/', '-')
const files = Object.fromEntries(
  Object.entries(PAGES).flatMap(([entry, code]) => [
    [`${nameOf(entry)}.js`, code],
    [`${nameOf(entry)}.html`, `<!doctype html><script type="module" src="/${nameOf(entry)}.js"></script>`],
  ]),
)

const vite = findPackage('vite')
const vitePlace = onNode('Vite 8, its development server, with its proxy', {
  proxy: 'Vite',
  transports: ['EventSource', 'fetch'],
})
describeWith(vitePlace, { vite, chromium: findBrowser() }, () => {
  let app: App
  let chat: Awaited<ReturnType<typeof startChat>>
  let server: { listen(): Promise<unknown>; close(): Promise<void>; resolvedUrls: { local: string[] } }
  let browser: Browser

  beforeAll(async () => {
    app = createApp(files)
    chat = await startChat()
    const { createServer } = await import(join(vite as string, 'dist/node/index.js'))
    server = await createServer({
      root: app.folder,
      configFile: false,
      logLevel: 'error',
      server: { host: '127.0.0.1', port: 0, proxy: { '/api': { target: chat.origin, changeOrigin: false } } },
    })
    await server.listen()
    browser = await launch(findBrowser() as string)
  })
  afterAll(async () => {
    await browser?.close()
    await server?.close()
    await chat?.close()
    app?.remove()
  })

  test.each(Object.keys(PAGES))('C78: a page that imports %s loads, connects, sends and hears', async (entry) => {
    const tab = await browser.newPage()
    const failed: string[] = []
    tab.on('response', (response) => {
      if (response.status() >= 400) failed.push(`${response.status()} ${new URL(response.url()).pathname}`)
    })
    tab.on('pageerror', (error) => failed.push(String(error)))
    await tab.goto(`${server.resolvedUrls.local[0]}${nameOf(entry)}.html`)
    await expect.poll(() => tab.title(), { timeout: 60_000 }).toBe('echo accepted')
    expect(failed.filter((failure) => !failure.includes('favicon'))).toEqual([])
    await tab.close()
  })
})

const metro = findPackage('metro')
describeWith('Metro, which bundles for React Native', { metro }, () => {
  let app: App
  beforeAll(() => {
    app = createApp(files, ['metro-runtime', '@babel/runtime'])
  })
  afterAll(() => app?.remove())

  test.each(Object.keys(PAGES))('C78: %s resolves and is bundled, with nothing of ws', async (entry) => {
    const require = createRequire(join(metro as string, 'package.json'))
    const Metro = require('metro')
    const config = await Metro.loadConfig(
      {},
      {
        projectRoot: app.folder,
        watchFolders: [app.folder, join(dirname(metro as string), 'metro-runtime')],
        resolver: { useWatchman: false, unstable_enablePackageExports: true },
        transformer: {
          babelTransformerPath: require.resolve('metro-babel-transformer'),
          // React Native's preset turns modules into CommonJS; here Metro does that itself.
          getTransformOptions: async () => ({ transform: { experimentalImportSupport: true, inlineRequires: false } }),
          asyncRequireModulePath: 'metro-runtime/src/modules/asyncRequire',
        },
        cacheStores: [],
        reporter: { update() {} },
        maxWorkers: 1,
      },
    )
    const { code } = await Metro.runBuild(config, {
      entry: `${nameOf(entry)}.js`,
      platform: 'ios',
      dev: false,
      minify: false,
    })
    expect(code).toContain('createConnection')
    expect(code).not.toMatch(/WebSocketServer|PerMessageDeflate/)
    // It parses and all that is imported is there.
    expect(() => runInNewContext(`(function () {${code}\n})`)).not.toThrow()
  })
})
