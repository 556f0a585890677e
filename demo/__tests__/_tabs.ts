import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Connection } from 'holdline'
import type { BrowserContext, JSHandle } from 'playwright-core'
import type { Site } from './_page'

/** One that answers at once, and one that answers later. */
const STORAGES = { localStorage: 'localStorage', IndexedDB: 'indexedDbStorage()' }
export type StorageName = keyof typeof STORAGES

const script = (name: StorageName) => `
  import { createConnection } from 'holdline'
  import { persist } from 'holdline/storage'
  import { indexedDbStorage } from '../../examples/recipes/indexed-db/storage'
  const storage = ${STORAGES[name]}
  const connection = createConnection({ url: '/api/chat', storage: persist(storage) })
  const told = []
  connection.on('delivery', ({ id, status }) => told.push({ id, status }))
  const keys = async () => storage.getAllKeys?.() ?? Object.keys(storage)
  globalThis.app = { connection, told, keys }
`
interface App {
  readonly connection: Connection
  readonly told: readonly { readonly id: string; readonly status: string }[]
  /** Of all that is stored. */
  keys(): Promise<readonly string[]>
}

/**
 * Opens tabs of a profile: an app of no more than a connection each, with one storage and one key.
 */
export async function createTabs(profile: BrowserContext, { url }: Site, storage: StorageName = 'localStorage') {
  const { outputFiles } = await build({
    stdin: { contents: script(storage), resolveDir: fileURLToPath(new URL('.', import.meta.url)) },
    bundle: true,
    write: false,
    tsconfig: fileURLToPath(new URL('../../tsconfig.json', import.meta.url)),
    external: ['eventsource'],
  })
  const body = `<!doctype html><script>${outputFiles[0]?.text}</script>`
  await profile.route('**/tab', (route) => route.fulfill({ contentType: 'text/html', body }))
  // For the cookie that tells who this is.
  await profile.request.get(url)

  return async () => {
    const page = await profile.newPage()
    await page.goto(`${url}tab`)
    const app = (await page.evaluateHandle('app')) as JSHandle<App>
    const stored = () => app.evaluate(async ({ keys }) => (await keys()).filter((key) => key.includes(':message:')))

    return {
      page,
      /** A fresh stream, open. */
      open: () =>
        app.evaluate(
          ({ connection }) =>
            new Promise<void>((resolve) => {
              const unsubscribe = connection.on('opened', () => {
                unsubscribe()
                resolve()
              })
              if (connection.phase === 'idle') connection.connect()
              else connection.reconnect()
            }),
        ),
      /**
       * Instead of what was queued before. Returns their ids, once they are stored and a tab is
       * known to hold them.
       */
      async queue(prompts: readonly string[]) {
        const ids = await app.evaluate(({ connection }, texts) => {
          connection.clearOutbox()
          return texts.map((prompt) => connection.send({ type: 'send', sessionId: 'tabs', prompt }).id)
        }, prompts)
        await page.waitForFunction(async () => (await navigator.locks.query()).held?.length)
        while ((await stored()).length < prompts.length);
        return ids
      },
      /**
       * Stands behind whatever this tab has taken over, so all of that is posted when this is
       * accepted.
       */
      say: (prompt: string) =>
        app.evaluate(
          async ({ connection }, text) =>
            (await connection.send({ type: 'send', sessionId: 'tabs', prompt: text }).settled).status,
          prompt,
        ),
      /** The states that this tab has told of a message. */
      toldOf: (id: string) =>
        app.evaluate(({ told }, wanted) => told.filter(({ id }) => id === wanted).map(({ status }) => status), id),
      stored,
      /** Waits until no tab holds anything. */
      nothingIsHeld: () => page.waitForFunction(async () => (await navigator.locks.query()).held?.length === 0),
    }
  }
}
