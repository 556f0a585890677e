import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^holdline$/, replacement: source('index.ts') },
      {
        find: /^holdline\/(machine|adapters|adapters\/websocket|storage|server|server\/redis|server\/runs|testing|inspect|compat|ag-ui|ag-ui\/server)$/,
        replacement: source('$1/index.ts'),
      },
    ],
  },
  test: {
    include: ['{src,demo}/__tests__/**/*.test.ts', 'examples/**/*.test.{ts,tsx}'],
    setupFiles: ['./src/__tests__/support/setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // One a core: Vitest would leave a core of two to itself.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // Of tests that say so: they wait for most of their time.
    maxConcurrency: 6,
    coverage: { provider: 'v8', include: ['src/**'], exclude: ['src/__tests__/**'] },
  },
})
