import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { expect, test } from 'vitest'
import { run } from './app'
import { describeWith } from './tools'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = fileURLToPath(new URL('./react18/', import.meta.url))
const found = (name: string) => (existsSync(`${folder}node_modules/${name}`) ? name : undefined)
const require = createRequire(`${folder}package.json`)

describeWith('holdline/react on React 18', { react18: found('react') }, () => {
  test('every test of the hooks passes there too', async () => {
    const args = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'tools/field/react18/vitest.config.ts']
    const { code, output } = await run(process.execPath, args, root)
    expect([code, output]).toEqual([0, expect.stringMatching(/[4-9]\d passed/)])
  })
})

/** What is shipped, without its types. */
const sources = readdirSync(`${root}/src/react`).map((name) => {
  const text = readFileSync(`${root}/src/react/${name}`, 'utf8')
  const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext }
  return [name, ts.transpileModule(text, { compilerOptions: options }).outputText] as const
})
/** A hook that both have to complain about. */
const BAD = `import { useRef } from 'react'
export function useBad(value) {
  const latest = useRef(value)
  latest.current = value
  return latest.current
}`

describeWith(
  'holdline/react and the React compiler',
  { eslint: found('eslint'), 'eslint-plugin-react-hooks': found('eslint-plugin-react-hooks') },
  () => {
    const complaints = (code: string) => {
      const { Linter } = require('eslint')
      const hooks = require('eslint-plugin-react-hooks')
      const { rules } = hooks.configs['recommended-latest']
      const language = { ecmaVersion: 2024, sourceType: 'module' }
      const config = { plugins: { 'react-hooks': hooks }, rules, languageOptions: language }
      return new Linter().verify(code, [config]).map(({ ruleId, line, message }: never) => [ruleId, line, message])
    }
    const compile = (code: string) => {
      const { transformSync } = require('@babel/core')
      const compiler = [require.resolve('babel-plugin-react-compiler'), { panicThreshold: 'all_errors', target: '19' }]
      return transformSync(code, { filename: 'hooks.js', plugins: [compiler], configFile: false, babelrc: false })
        .code as string
    }

    test.each(sources)('%s has nothing that its lint complains about', (_, code) => {
      expect(complaints(code)).toEqual([])
    })

    test.each(sources.filter(([, code]) => /function use[A-Z]/.test(code)))(
      '%s is compiled, and not skipped',
      (_, code) => {
        expect(compile(code)).toContain('react/compiler-runtime')
      },
    )

    test('both complain where there is a reason', () => {
      expect(complaints(BAD)).not.toEqual([])
      expect(() => compile(BAD)).toThrow()
    })
  },
)
