/** The parts of its process that a command touches. */
export interface CliIo {
  out(text: string): void
  err(text: string): void
  /** The process ends with this code, once it has nothing else to do. */
  exitCode(code: number): void
}

export const processIo = (): CliIo => ({
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  exitCode(code) {
    process.exitCode = code
  },
})
