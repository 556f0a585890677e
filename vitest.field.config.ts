import { defineConfig } from 'vitest/config'
import base from './vitest.config'

/** `npm run test:field`: real proxies, run-times, browser engines and frameworks, one file at a time. */
export default defineConfig({
  ...base,
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
