import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { common } from '../../../vitest.config'

const here = fileURLToPath(new URL('.', import.meta.url))

/** The tests of `holdline/react`, on React 18. */
export default defineConfig({
  ...common,
  resolve: {
    alias: [
      ...common.resolve.alias,
      { find: /^@testing-library\/react$/, replacement: `${here}testingLibrary.ts` },
      { find: /^(react|react-dom)(\/.*)?$/, replacement: `${here}node_modules/$1$2` },
    ],
  },
  test: { ...common.test, include: ['src/__tests__/react/*.test.tsx'] },
})
