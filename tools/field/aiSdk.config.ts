import { fileURLToPath } from 'node:url'
import { defineConfig, type Plugin } from 'vitest/config'
import { ALL, common } from '../../vitest.config'

// The tests of `holdline/ai-sdk` with the `ai` of this folder, and with the chats of `AI_SDK_CHAT`,
// in the place of those that they are written with.

const field = (name: string) => fileURLToPath(new URL(`./node_modules/${name}`, import.meta.url))
const chats = process.env.AI_SDK_CHAT ?? '@ai-sdk/react'
const isSvelte = chats === '@ai-sdk/svelte'

/** The chats of Svelte are runes, which its compiler makes JavaScript of. */
const runes: Plugin = {
  name: 'runes',
  async transform(code, id) {
    if (!id.endsWith('.svelte.js')) return undefined
    const { compileModule } = await import(field('svelte/src/compiler/index.js'))
    const { js } = compileModule(code, { filename: id, generate: 'server' })
    return { code: js.code, map: js.map }
  },
}

export default defineConfig({
  ...common,
  plugins: isSvelte ? [runes] : [],
  resolve: {
    alias: [
      ...common.resolve.alias,
      { find: /^ai$/, replacement: field('ai') },
      { find: /^@ai-sdk\/react$/, replacement: field(isSvelte ? `${chats}/dist/index.js` : chats) },
    ],
  },
  test: {
    ...common.test,
    include: ALL,
    exclude: ['**/model.test.ts'],
    server: { deps: { inline: [/@ai-sdk\/svelte/] } },
  },
})
