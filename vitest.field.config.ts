import { defineConfig } from 'vitest/config'
import base from './vitest.config'

/**
 * `npm run test:field`: real proxies, run-times, browser engines and frameworks, one file at a
 * time.
 */
export default defineConfig({
  ...base,
  test: {
    ...base.test,
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
