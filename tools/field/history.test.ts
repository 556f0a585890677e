import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { expect, test } from 'vitest'
import { run } from './app'
import { describeWith, findPackage } from './tools'

const node22 = findPackage('node22')
describeWith('docs/history.md: transcripts in SQLite, on Node 22', { node22 }, () => {
  test('a transcript and its cursor in one row: after a restart that lost the log, nothing is missing and nothing twice, and no older state takes the place of a newer one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdline-history-'))
    try {
      const script = join(folder, 'drive.mjs')
      await build({
        entryPoints: [fileURLToPath(new URL('./history/drive.ts', import.meta.url))],
        outfile: script,
        bundle: true,
        format: 'esm',
        platform: 'node',
        external: ['ioredis', 'ws'],
        banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)" },
      })
      const { code, output } = await run(`${node22}/bin/node`, [script, join(folder, 'chat.db')], folder)
      expect([code, output]).toEqual([0, expect.stringContaining('two')])
      expect(JSON.parse(output.split('\n').find((line) => line.startsWith('[')) ?? 'null')).toEqual([
        'live: one, echo of one',
        'live: one, echo of one, two, echo of two',
        [true, false, true, false, 2],
      ])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
