// @vitest-environment happy-dom
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createHarness } from 'holdline/testing'
import * as holdline from 'holdline/vue'
import ts from 'typescript'
import { expect, onTestFinished, test } from 'vitest'
import * as vue from 'vue'
import { compileScript, parse } from 'vue/compiler-sfc'

const page = readFileSync(join(import.meta.dirname, '../../../docs/vue.md'), 'utf8')
const sources = new Map(
  Array.from(page.matchAll(/```vue\n<!-- (\S+) -->\n([\s\S]*?)```/g), ([, name = '', code = '']) => [
    `./${name}`,
    code,
  ]),
)

/** A component of the page, as a bundler makes it. */
function read(name: string): vue.Component {
  const { descriptor } = parse(sources.get(name) ?? '', { filename: name })
  const { content } = compileScript(descriptor, { id: name, inlineTemplate: true })
  const { outputText } = ts.transpileModule(content, { compilerOptions: { module: ts.ModuleKind.CommonJS } })
  const known: Readonly<Record<string, object>> = { vue, 'holdline/vue': holdline }
  const exports: { default?: vue.Component } = {}
  const require = (path: string) => known[path] ?? { __esModule: true, default: read(path) }
  new Function('require', 'exports', outputText)(require, exports)
  return exports.default as vue.Component
}

test('docs/vue.md, several chats: each shows its own, and what was said while another one was there', async () => {
  const harness = createHarness()
  const page = document.createElement('main')
  const Chats = read('./Chats.vue')
  const chats = ['s1', 's2'].map((id) => ({ id, title: `chat ${id}` }))
  const App = vue.defineComponent(() => {
    holdline.provideHoldline(harness.connection)
    return () => vue.h(Chats, { chats })
  })
  const app = vue.createApp(App)
  onTestFinished(() => app.unmount())
  const said = () => [...page.querySelectorAll('p')].map(({ textContent }) => textContent)
  const say = (sessionId: string, text: string) => harness.server.publish(sessionId, { type: 'said', id: text, text })
  const choose = (index: number) => {
    page.querySelectorAll('nav button')[index]?.dispatchEvent(new Event('click'))
    return expect.poll(() => page.querySelector('form')).not.toBeNull()
  }
  app.mount(page)
  await harness.settles()
  expect(page.querySelector('form')).toBeNull()
  await choose(0)
  say('s1', 'one')
  await expect.poll(said).toEqual(['one'])
  await choose(1)
  await harness.settles()
  say('s1', 'one more')
  say('s2', 'two')
  await expect.poll(said).toEqual(['two'])
  await choose(0)
  await expect.poll(said).toEqual(['one', 'one more'])
})
