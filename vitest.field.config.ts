import { fileURLToPath } from 'node:url'
import { defineConfig, mergeConfig } from 'vitest/config'
import base from './vitest.config'

const WS = fileURLToPath(new URL('node_modules/ws/wrapper.mjs', import.meta.url))

/** `npm run test:field`: real proxies, run-times, browser engines and frameworks, one file at a time. */
export default defineConfig({
  ...base,
  // The `ws` beside the tests is a bundler's, and of an older major version.
  resolve: mergeConfig(base.resolve ?? {}, { alias: [{ find: /^ws$/, replacement: WS }] }, false),
  test: {
    ...base.test,
    include: ['tools/field/**/*.test.ts'],
    exclude: ['**/node_modules/**'],
    testTimeout: 180_000,
    hookTimeout: 180_000,
    fileParallelism: false,
    reporters: ['default', './tools/field/tableReporter.ts'],
  },
})
