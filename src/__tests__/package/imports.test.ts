import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

// Not imported at the top: what throws while it loads is then a test that fails, and not a file
// without tests.
test.each([
  ['holdline', () => import('holdline')],
  ['holdline/machine', () => import('holdline/machine')],
  ['holdline/adapters', () => import('holdline/adapters')],
  ['holdline/adapters/websocket', () => import('holdline/adapters/websocket')],
  ['holdline/storage', () => import('holdline/storage')],
  ['holdline/protocol', () => import('holdline/protocol')],
  ['holdline/server', () => import('holdline/server')],
  ['holdline/server/node', () => import('holdline/server/node')],
  ['holdline/testing', () => import('holdline/testing')],
  ['holdline/compat', () => import('holdline/compat')],
  ['holdline/sessions', () => import('holdline/sessions')],
  ['holdline/react', () => import('holdline/react')],
  ['holdline/vue', () => import('holdline/vue')],
  ['holdline/tabs', () => import('holdline/tabs')],
  ['holdline/ag-ui', () => import('holdline/ag-ui')],
  ['holdline/ag-ui/server', () => import('holdline/ag-ui/server')],
])('%s loads: XState takes the machines as they are', async (_, load) => {
  await expect(load()).resolves.toBeTypeOf('object')
})

test('an app that stores nothing ships nothing of the storage, and one without schemas nothing of their checks', async () => {
  const root = fileURLToPath(new URL('../../..', import.meta.url))
  const shipped = async (contents: string) => {
    const { metafile } = await build({
      stdin: { contents, resolveDir: root },
      bundle: true,
      write: false,
      metafile: true,
      format: 'esm',
      external: ['xstate', 'eventsource', 'ws'],
    })
    return Object.keys(metafile.inputs).filter((path) => /src\/(storage|protocol\/define)\//.test(path))
  }
  expect(await shipped("export * from './src/index.ts'\nexport * from './src/compat/index.ts'")).toEqual([])
  expect(await shipped("export * from './src/storage/index.ts'")).toContain('src/storage/persist.ts')
  expect(await shipped("export * from './src/protocol/define/index.ts'")).toContain('src/protocol/define/schema.ts')
})
