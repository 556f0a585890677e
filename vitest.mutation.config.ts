import { defineConfig } from 'vitest/config'
import { common } from './vitest.config'

/**
 * The rooms whose tests take long, or are about something that is not mutated: every mutant that
 * survives runs all that is left.
 */
const LEFT_OUT = 'src/__tests__/{package,tools,wire,server,testing,trace,inspect,ai-sdk,ag-ui}/**'
/**
 * Those that `npm run mutate` asks for, separated by commas. Default: all that are not left out.
 */
const wanted = process.env.MUTATION_TESTS

export default defineConfig({
  ...common,
  test: {
    ...common.test,
    setupFiles: ['./src/__tests__/support/setup.ts', './src/__tests__/support/shortProperties.ts'],
    include: wanted ? wanted.split(',').map((name) => `src/__tests__/${name}.test.ts`) : ['src/__tests__/**/*.test.ts'],
    exclude: ['node_modules/**', LEFT_OUT],
  },
})
