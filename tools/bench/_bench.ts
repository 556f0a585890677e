import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** One line of the table: `value` is `ours` held against `baseline`. */
export interface Result {
  readonly name: string
  readonly ours: string
  readonly baseline: string
  readonly value: string
  readonly bar: string
  readonly isMet: boolean
}
export interface Measurement {
  readonly name: string
  readonly about: string
  run(): Promise<readonly Result[]>
}

export const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2
}

/** ours, baseline, ours, baseline …: what disturbs the machine for a while disturbs both. */
export async function interleave<Subject extends string = 'holdline'>(
  rounds: number,
  sample: (subject: Subject | 'bare') => Promise<number>,
  subject = 'holdline' as Subject,
) {
  const ours: number[] = []
  const baseline: number[] = []
  for (let round = 0; round < rounds; round++) {
    ours.push(await sample(subject))
    baseline.push(await sample('bare'))
  }
  return { ours, baseline }
}

/** The median of the ratios of neighbours, which a slow drift of the machine does not touch. */
export const ratio = (ours: readonly number[], baseline: readonly number[]): number =>
  median(ours.map((value, round) => value / (baseline[round] ?? Number.NaN)))

/**
 * Runs the work with what it needs: a server process, and programs of this folder bundled as an app
 * would bundle them.
 */
export async function withServer<T>(client: string, work: (sample: Sampler) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'holdline-bench-'))
  let server: ChildProcess | undefined
  try {
    await build({
      entryPoints: [here('_server.ts'), here(client)],
      outdir: folder,
      outExtension: { '.js': '.mjs' },
      alias: {
        holdline: here('../../src/index.ts'),
        'holdline/machine': here('../../src/machine/index.ts'),
        'holdline/adapters': here('../../src/adapters/index.ts'),
        'holdline/server': here('../../src/server/index.ts'),
        'holdline/server/runs': here('../../src/server/runs/index.ts'),
        'holdline/ai-sdk': here('../../src/ai-sdk/index.ts'),
        'holdline/ai-sdk/server': here('../../src/ai-sdk/server/index.ts'),
      },
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      define: { 'process.env.NODE_ENV': '"production"' },
    })
    server = fork(join(folder, '_server.mjs'))
    const [port] = await once(server, 'message')
    const program = join(folder, client.replace(/\.ts$/, '.mjs'))
    return await work((path, ...args) => runClient(program, `http://127.0.0.1:${port}/${path}`, args))
  } finally {
    server?.kill()
    await rm(folder, { recursive: true, force: true })
  }
}

export type Sample = Readonly<Record<string, number>>
export type Sampler = (path: string, subject: string, ...args: string[]) => Promise<Sample>

const CLIENT_TIMEOUT = 120_000

/**
 * Each sample is a fresh process, so that neither side profits from code that the other has warmed.
 */
async function runClient(program: string, url: string, [subject = '', ...args]: readonly string[]): Promise<Sample> {
  const child = fork(program, [subject, url, ...args], { execArgv: ['--expose-gc'] })
  const timer = setTimeout(() => child.kill('SIGKILL'), CLIENT_TIMEOUT)
  const exit = once(child, 'exit')
  let result: Sample | undefined
  child.once('message', (message) => {
    result = message as Sample
  })
  const [code, signal] = await exit
  clearTimeout(timer)
  if (result) return result
  throw new Error(`${subject}: the client process ended without a result (${signal ?? code})`)
}
