import { parseArgs } from 'node:util'
import { CHURNS, type ChurnName } from './churns'

/** Bytes that an iteration may leave behind. */
const BAR = 16
const QUICK_BAR = 640

export const USAGE = `npm run soak -- [--iterations 10000] [--only ${CHURNS.map(({ name }) => name).join(',')}]
                [--bar ${BAR}] [--quick] [--redis redis://…]

--iterations  of each churn, after a warm-up of a quarter as many, or 1,000; of the cheap ones four times as many
--only        these churns, with commas between them
--bar         bytes that an iteration may leave behind
--quick       1,000 iterations and a bar of ${QUICK_BAR}: sees what costs a kilobyte
--redis       the log of the server half; by default it is in memory`

export interface Options {
  readonly iterations: number
  readonly only: readonly ChurnName[]
  readonly bar: number
  /** How often the bytes are counted: the first time after the warm-up. */
  readonly checkpoints: number
  readonly redis: string | undefined
}

/** @throws Error that names the option */
export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      iterations: { type: 'string' },
      only: { type: 'string' },
      bar: { type: 'string' },
      quick: { type: 'boolean', default: false },
      redis: { type: 'string' },
    },
  })
  const { quick, redis } = values
  const count = (name: 'iterations' | 'bar', preset: number) => {
    const text = values[name] ?? String(preset)
    if (/^[1-9]\d*$/.test(text)) return Number(text)
    throw new Error(`--${name} must be a whole number above 0, not '${text}'`)
  }
  const names = CHURNS.map(({ name }) => name)
  const only = (values.only?.split(',') ?? names).map((text) => {
    const name = names.find((known) => known === text)
    if (!name) throw new Error(`--only takes ${names.join(', ')}, not '${text}'`)
    return name
  })
  if (redis !== undefined && !/^rediss?:\/\/./.test(redis))
    throw new Error(`--redis must be a redis:// URL, not '${redis}'`)
  return {
    iterations: count('iterations', quick ? 1_000 : 10_000),
    only,
    bar: count('bar', quick ? QUICK_BAR : BAR),
    checkpoints: quick ? 7 : 25,
    redis,
  }
}
