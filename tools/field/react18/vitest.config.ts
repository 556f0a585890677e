import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import base from '../../../vitest.config'

const here = fileURLToPath(new URL('./node_modules/', import.meta.url))

/** The tests of `holdline/react`, on React 18. */
export default defineConfig({
  ...base,
  resolve: {
    alias: [
      ...(base.resolve?.alias as []),
      { find: /^(react|react-dom)(\/.*)?$/, replacement: `${here}$1$2` },
    ],
  },
  test: {
    ...base.test,
    include: ['src/__tests__/react/*.test.tsx'],
    server: { deps: { inline: ['@testing-library/react'] } },
  },
})
