import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { common } from './vitest.config'

/**
 * `npm run test:field`: real proxies, run-times, browser engines and frameworks, one file at a
 * time.
 */
const field = (path: string) => fileURLToPath(new URL(`./tools/field/${path}`, import.meta.url))

export default defineConfig({
  ...common,
  resolve: {
    alias: [
      ...common.resolve.alias,
      // For the recipes of frameworks that only this folder has.
      { find: /^svelte\/store$/, replacement: field('node_modules/svelte/src/store/index-client.js') },
      { find: /^solid-js$/, replacement: field('react18/node_modules/solid-js/dist/solid.js') },
    ],
  },
  test: {
    ...common.test,
    include: ['tools/field/**/*.test.ts'],
    // The soak under attack measures latencies, so it wants a machine of its own: `HOSTILE=1 npm
    // run test:field`.
    exclude: ['**/node_modules/**', ...(process.env.HOSTILE ? [] : ['tools/field/hostile.test.ts'])],
    // Foreign engines start slowly at times.
    retry: 1,
    testTimeout: 180_000,
    hookTimeout: 180_000,
    fileParallelism: false,
    reporters: ['default', './tools/field/tableReporter.ts'],
  },
})
