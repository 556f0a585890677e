import type { Progress } from '../../src/testing/explore/search'

export const count = (value: number) => value.toLocaleString('en')

/** A bar on a terminal, else a line now and then. */
export function createReporter(name: string) {
  const { isTTY } = process.stdout
  let last = 0
  const line = ({ depth, done, of, states, edges, rate }: Progress) => {
    const filled = Math.round((20 * done) / of)
    const bar = '█'.repeat(filled) + '░'.repeat(20 - filled)
    return `${name} depth ${depth + 1} ${bar} ${count(states)} states, ${count(edges)} edges, ${count(rate)}/s`
  }
  return {
    onProgress(progress: Progress) {
      if (isTTY) process.stdout.write(`\r\x1b[K${line(progress)}`)
      else if (performance.now() - last > 10_000) {
        last = performance.now()
        console.log(line(progress))
      }
    },
    end() {
      if (isTTY) process.stdout.write('\r\x1b[K')
    },
  }
}
