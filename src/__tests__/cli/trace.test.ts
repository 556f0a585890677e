import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { traceCommand } from '../../cli/trace'
import { createHarness, resumeFails } from '../../testing'
import type { Trace } from '../../trace/trace'
import { buildCommand, fakeIo, runCommand } from './run'

let folder: string
let trace: Trace

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'holdline-trace-'))
  const harness = createHarness({ server: resumeFails({ status: 503, times: 1 }) })
  harness.connection.watch('s1')
  harness.connection.connect()
  harness.connection.connect()
  await harness.opens()
  trace = JSON.parse(JSON.stringify(harness.connection.trace()))
  harness.connection.dispose()
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function write(content: unknown): string {
  const file = join(folder, 'trace.json')
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
  return file
}

function run(args: readonly string[]) {
  const own = fakeIo()
  return runCommand(traceCommand(own.io), args, own)
}

/** With one step that another version has decided. */
function changed(change: (step: Trace['steps'][number]) => object): Trace {
  const index = trace.steps.findIndex(({ event }) => event === 'resume.failed')
  const steps = trace.steps.map((step, n) => (n === index ? { ...step, ...change(step) } : step))
  // A trace goes on where it was, so it ends here.
  return { ...trace, steps: steps.slice(0, index + 1) }
}

describe('holdline trace', () => {
  test('prints a line a step', async () => {
    const { out, err, code } = await run([write(trace)])
    expect([err, code]).toEqual(['', 0])
    expect(out).toMatch(/^holdline trace: \d+ steps since /)
    expect(out).toMatch(/ idle → connecting +connect\n/)
    expect(out).toMatch(/ ✗ connecting +connect refused/)
    expect(out.trimEnd().split('\n')).toHaveLength(trace.steps.length + 1)
  })

  test('--mermaid is a diagram, and nothing else is on standard output', async () => {
    const { out, err } = await run([write(trace), '--mermaid', '--replay'])
    expect(out).toMatch(/^sequenceDiagram/)
    expect(out).not.toContain('replay:')
    expect(err).toContain('decides all')
  })

  test('--replay says that this version decides the same', async () => {
    const { out, code } = await run([write(trace), '--replay'])
    expect(out).toMatch(new RegExp(`\n\nreplay: this version decides all ${trace.steps.length} steps the same\n$`))
    expect(code).toBe(0)
  })

  test('--replay names the first step that this version decides otherwise, and ends with 1', async () => {
    const other = changed(() => ({ to: 'active.streaming.connecting' }))
    const { out, code } = await run([write(other), '--replay'])
    expect(out).toMatch(
      /\nreplay: step \d+ is decided otherwise: resume\.failed in active\.streaming\.reconnecting\.posting: the next state was active\.streaming\.connecting and is active\.backoff now\n$/,
    )
    expect(code).toBe(1)
  })

  test('--replay tells of a state that this version does not have', async () => {
    const other = {
      ...trace,
      steps: trace.steps.slice(0, 1).map((step) => ({ ...step, from: 'dreaming', to: 'dreaming' })),
    }
    const { out, code } = await run([write(other), '--replay'])
    expect(out).toContain('the next state was dreaming and is none now')
    expect(code).toBe(1)
  })

  test.each([
    ['is not there', 'no-such.json', /error: .*no-such\.json cannot be read \(ENOENT\): name the file/],
    ['is a folder', '.', /error: .*cannot be read \(EISDIR\)/],
  ])('a file that %s is a sentence, and 2', async (_, file, says) => {
    const { err, code } = await run([join(folder, file)])
    expect([err, code]).toEqual([expect.stringMatching(says), 2])
  })

  test.each([
    ['JSON', '{"format":', /is no trace \(.*not JSON\)/],
    ['a trace', '[]', /is no trace \(.*not an object\)/],
    ['whole', { format: 'holdline-trace', version: 1 }, /is no trace \(.* is not valid\)/],
  ])('a file that is not %s is a sentence that names the field, and 2', async (_, content, says) => {
    const { err, out, code } = await run([write(content), '--replay'])
    expect([out, err, code]).toEqual(['', expect.stringMatching(says), 2])
    expect(err).toContain('save JSON.stringify(connection.trace()), unchanged.')
  })

  test('--help teaches: how a trace is saved, what a line says, the exit codes, examples', async () => {
    const { out, code } = await run(['--help'])
    expect(code).toBe(0)
    for (const text of [
      'JSON.stringify(connection.trace())',
      '"✗"',
      'Exit code: 0',
      'npx holdline trace report.json --replay',
    ])
      expect(out).toContain(text)
  })
})

describe('as a process', () => {
  let command: Awaited<ReturnType<typeof buildCommand>>
  beforeAll(async () => {
    command = await buildCommand()
  })
  afterAll(() => rmSync(command.folder, { recursive: true, force: true }))

  test('- is standard input', () => {
    const args = [command.path, 'trace', '-', '--replay']
    const { status, stdout, stderr } = spawnSync(process.execPath, args, {
      input: JSON.stringify(trace),
      encoding: 'utf8',
    })
    expect([status, stderr, stdout]).toEqual([0, '', expect.stringContaining('steps the same')])
  })

  test('a reader that has gone ends it silently', () => {
    const steps = Array.from({ length: 10_000 }, () => ({ ...trace.steps[0], to: 'idle', refused: true }))
    const file = write({ ...trace, steps })
    const shell = `"$NODE" "$CLI" trace "$FILE" | head -1; echo "\${PIPESTATUS[0]}"`
    const env = { ...process.env, NODE: process.execPath, CLI: command.path, FILE: file }
    const { stdout, stderr } = spawnSync('bash', ['-c', shell], { env, encoding: 'utf8' })
    expect([stdout, stderr]).toEqual([expect.stringMatching(/^holdline trace: .*\n0\n$/), ''])
  })
})

test('docs/cli.md has each option', () => {
  const page = readFileSync(new URL('../../../docs/cli.md', import.meta.url), 'utf8')
  for (const { long } of traceCommand().options) expect(page).toContain(`| \`${long}`)
})
