import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import base from '../../../vitest.config'

const here = fileURLToPath(new URL('.', import.meta.url))
const { alias } = base.resolve as { alias: { find: RegExp; replacement: string }[] }

/** The tests of `holdline/react`, on React 18. */
export default defineConfig({
  ...base,
  resolve: {
    alias: [
      ...alias,
      { find: /^@testing-library\/react$/, replacement: `${here}testingLibrary.ts` },
      { find: /^(react|react-dom)(\/.*)?$/, replacement: `${here}node_modules/$1$2` },
    ],
  },
  test: { ...base.test, include: ['src/__tests__/react/*.test.tsx'] },
})
