import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url))

/** Files that take 20 s and more, the longest first. One that began last would run alone. */
const LONGEST = ['page', 'explore', 'chart', 'soak', 'cluster', 'walk', 'contract']

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]) {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = LONGEST.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`))
      return index < 0 ? LONGEST.length : index
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

export default defineConfig({
  resolve: {
    alias: [
      { find: /^holdline$/, replacement: source('index.ts') },
      { find: /^holdline\/protocol$/, replacement: source('protocol/define/index.ts') },
      {
        find: /^holdline\/(machine|adapters|adapters\/websocket|storage|server|server\/node|server\/redis|server\/runs|testing|inspect|compat|sessions|react|vue|ai-sdk|ai-sdk\/server|ag-ui|ag-ui\/server)$/,
        replacement: source('$1/index.ts'),
      },
    ],
  },
  test: {
    include: ['{src,demo}/__tests__/**/*.test.{ts,tsx}', 'examples/**/*.test.{ts,tsx}'],
    setupFiles: ['./src/__tests__/support/setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // One more than there are cores: at any time one waits for a browser, a process or a timer.
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: LongestFirst },
    // Of tests that say so: they wait for most of their time.
    maxConcurrency: 6,
    coverage: { provider: 'v8', include: ['src/**'], exclude: ['src/__tests__/**'] },
  },
})
