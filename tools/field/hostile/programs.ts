import { type ChildProcess, fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { setPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { overIpc, type Remote } from './ipc'

const pathOf = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const NAMES = ['serverProcess', 'honestProcess', 'attackerProcess', 'victimProcess'] as const
/** Of each process, MiB: a leak ends the process that has it, and not the machine. */
const HEAP = 1_024

/** A process of its own, and the methods that it answers to. */
export interface Program<T> {
  readonly ask: Remote<T>
  /** How it ended, in one line; undefined while it lives. */
  readonly end: string | undefined
  /** Resident memory, MiB; of a process that has ended the last that was seen. */
  rss(): number
  stop(): void
}

export type Programs = Awaited<ReturnType<typeof createPrograms>>

/** The programs of the other processes, bundled, so that each of them starts in a moment. */
export async function createPrograms() {
  const folder = await mkdtemp(join(tmpdir(), 'holdline-hostile-'))
  const running = new Set<ChildProcess>()
  await build({
    entryPoints: NAMES.map((name) => pathOf(`${name}.ts`)),
    tsconfig: pathOf('../../../tsconfig.json'),
    outdir: folder,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    logLevel: 'error',
    // The `ws` beside the tests is a bundler's, and of an older major version.
    alias: { ws: pathOf('../../../node_modules/ws') },
    // Optional parts of `ws`, in C++.
    external: ['bufferutil', 'utf-8-validate'],
  })
  return {
    /**
     * `nice`: an attacker has machines of its own, so it must not take the processor from those
     * whom it attacks.
     */
    start<T>(name: (typeof NAMES)[number], { nice = 0 } = {}): Program<T> {
      const execArgv = [`--max-old-space-size=${HEAP}`, '--expose-gc']
      const child = fork(join(folder, `${name}.cjs`), [], { execArgv, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
      running.add(child)
      if (nice && child.pid) setPriority(child.pid, nice)
      let complaint = ''
      let rss = 0
      let end: string | undefined
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        complaint = (complaint + text).slice(-20_000)
      })
      child.once('exit', (code, signal) => {
        running.delete(child)
        end = `${signal ?? `exit code ${code}`}: ${reasonIn(complaint)}`
      })
      return {
        ask: overIpc<T>(child),
        get end() {
          return end
        },
        rss() {
          rss = residentMemory(child.pid) ?? rss
          return rss
        },
        stop: () => void child.kill('SIGKILL'),
      }
    },

    async remove() {
      for (const child of running) child.kill('SIGKILL')
      await rm(folder, { recursive: true })
    },
  }
}

/** The line in which Node says why it gives up. */
function reasonIn(complaint: string): string {
  const lines = complaint.split('\n').map((line) => line.trim())
  return lines.find((line) => /^FATAL ERROR|^\w*Error\b|heap out of memory/.test(line)) ?? lines.at(-2) ?? ''
}

/** MiB. Read from the kernel, because a process that is busy or about to die does not answer. */
function residentMemory(pid: number | undefined): number | undefined {
  try {
    const kB = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kB === undefined ? undefined : Math.round(Number(kB) / 1_024)
  } catch {
    return undefined
  }
}
