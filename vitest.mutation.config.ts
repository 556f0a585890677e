import { defineConfig } from 'vitest/config'
import config from './vitest.config'

/** What takes long, or is about something that is not mutated: every mutant that survives runs all that is left. */
const LEFT_OUT =
  '{readme,docs,failures,planted,chaos,cluster,load,storm,soak,contract,explore,integration,http,server*,redis*,webSocketServer,properties,walk,harness,invariants,trace,inspector}'
/** Those that `npm run mutate` asks for, separated by commas. Default: all that are not left out. */
const wanted = process.env.MUTATION_TESTS

export default defineConfig({
  ...config,
  test: {
    ...config.test,
    include: wanted ? wanted.split(',').map((name) => `src/__tests__/${name}.test.ts`) : ['src/__tests__/**/*.test.ts'],
    exclude: ['node_modules/**', `src/__tests__/${LEFT_OUT}.test.ts`],
  },
})
