import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig, type ViteUserConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url))

/** Files that take 20 s and more, the longest first. One that began last would run alone. */
const LONGEST = ['page', 'weather', 'explore', 'chart', 'soak', 'cluster', 'walk', 'contract']

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]) {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = LONGEST.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`))
      return index < 0 ? LONGEST.length : index
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

/**
 * Rooms whose tests change nothing that they share: their files run one after the other in the same
 * processes, so that each imports the code once. The two of the server that are left out import a
 * server that replaces `Response`.
 */
const SHARING = [
  'src/__tests__/{machine,connection,outbox,inbox,protocol,adapters,storage,trace,inspect,sessions,threads}/*.test.ts',
  'src/__tests__/{ag-ui,ai-sdk,compat,tabs,testing}/!(explore|walk).test.ts',
  'src/__tests__/{server,wire}/!(serverBodies|serverRoom|fuzz|hosts|serverOverHttp).test.ts',
  'src/__tests__/server/{node,redis,runs,transcripts,websocket}/*.test.ts',
]
export const ALL = ['{src,demo}/__tests__/**/*.test.{ts,tsx}', 'examples/**/*.test.{ts,tsx}']

/** For every run of tests. */
export const common = {
  resolve: {
    alias: [
      { find: /^holdline$/, replacement: source('index.ts') },
      { find: /^holdline\/protocol$/, replacement: source('protocol/define/index.ts') },
      {
        find: /^holdline\/(machine|adapters|adapters\/websocket|storage|server|server\/node|server\/redis|server\/runs|server\/transcripts|testing|inspect|compat|sessions|react|vue|tabs|ai-sdk|ai-sdk\/server|ag-ui|ag-ui\/server)$/,
        replacement: source('$1/index.ts'),
      },
    ],
  },
  test: {
    setupFiles: ['./src/__tests__/support/setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A poll ends when what it waits for is there; a machine that is busy needs more than Vitest's
    // second.
    expect: { poll: { timeout: 20_000 } },
    pool: 'forks',
    // One more than there are cores: at any time one waits for a browser, a process or a timer.
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: LongestFirst },
    // Of tests that say so: they wait for most of their time.
    maxConcurrency: 6,
    coverage: { provider: 'v8', include: ['src/**'], exclude: ['src/__tests__/**'] },
  },
} satisfies ViteUserConfig

export default defineConfig({
  ...common,
  test: {
    ...common.test,
    projects: [
      { extends: true, test: { name: 'sharing', isolate: false, include: SHARING } },
      { extends: true, test: { name: 'apart', include: ALL, exclude: ['**/node_modules/**', ...SHARING] } },
    ],
  },
})
