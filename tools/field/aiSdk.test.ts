import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { describeWith, findPackage } from './tools'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Without what vitest tells its workers. */
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST')))
const node22 = findPackage('node22')

/** Runs a script under Node 22, which `ai` 7 needs. */
async function runNode(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = spawn(join(node22 ?? '', 'bin/node'), args, { cwd: ROOT, env: { ...ENVIRONMENT, ...env } })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      output += data
    })
  }
  const code = await new Promise((resolve) => child.on('close', resolve))
  return { code, output }
}

const tools = { 'ai 7 (npm ci in tools/field)': findPackage('ai'), 'Node 22': node22 }

describeWith('holdline/ai-sdk with the AI SDK 7', tools, () => {
  test.each(['@ai-sdk/react', '@ai-sdk/vue', '@ai-sdk/svelte'])(
    'every scenario holds with the chats of %s',
    async (chats) => {
      const { code, output } = await runNode(
        ['node_modules/vitest/vitest.mjs', 'run', '--config', 'tools/field/aiSdk.config.ts', 'src/__tests__/ai-sdk/'],
        { AI_SDK_CHAT: chats, NO_COLOR: '1' },
      )
      expect(output).toMatch(/Tests +(\d+ skipped \| )?([4-9]\d|\d{3}) passed/)
      expect([code, /^\s*Tests .*failed/m.test(output)]).toEqual([0, false])
    },
  )

  test('its types fit those of version 7', async () => {
    const { code, output } = await runNode([
      'node_modules/typescript/bin/tsc',
      '--project',
      'tools/field/aiSdk.tsconfig.json',
    ])
    expect([code, output]).toEqual([0, ''])
  })
})
