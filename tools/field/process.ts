import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const alive = new Set<ChildProcess>()
// Whatever ends this process, its children must not outlive it.
process.on('exit', () => {
  for (const child of alive) kill(child)
})

/** With all that it has started. */
function kill({ pid }: ChildProcess) {
  try {
    if (pid) process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

export interface Started {
  /** Every line of its standard output so far. */
  readonly lines: readonly string[]
  /** The end of what it wrote to its standard error. */
  readonly complaint: () => string
  /** Its exit code; null if it was killed. */
  readonly exited: Promise<number | null>
  onLine(listener: (line: string) => void): void
  /** To the process itself; it may end in its own time. */
  signal(name: NodeJS.Signals): void
  stop(): Promise<void>
}

/** A process in a group of its own, so that it ends with all that it has started. */
export function start(command: string, args: readonly string[], options: SpawnOptions = {}): Started {
  const child = spawn(command, args, { ...options, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  alive.add(child)
  const lines: string[] = []
  const listeners: ((line: string) => void)[] = []
  let complaint = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-4_000)
  })
  if (child.stdout) {
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line)
      for (const listener of listeners) listener(line)
    })
  }
  const exited = new Promise<number | null>((resolve) => {
    child.on('error', (error) => {
      complaint += error
      resolve(null)
    })
    // Not `exit`: its last lines come after that.
    child.on('close', resolve)
  })
  exited.then(() => alive.delete(child))
  return {
    lines,
    complaint: () => complaint,
    exited,
    onLine(listener) {
      lines.forEach(listener)
      listeners.push(listener)
    },
    signal: (name) => void child.kill(name),
    async stop() {
      kill(child)
      await exited
    },
  }
}
