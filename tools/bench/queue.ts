import { type Measurement, median, ratio, withServer } from './_bench'

const SHORT = 1_000
const LONG = 100_000
const BAR = 1.5

export const queue: Measurement = {
  name: 'queue',
  about: 'to queue and to drain one message, without a network, in a queue of 100,000 against one of 1,000',
  run: () =>
    withServer('_queueClient.ts', async (sample) => {
      const micros = async (length: number) => (await sample('', '', String(length), String(LONG))).micros ?? Number.NaN
      const long: number[] = []
      const short: number[] = []
      for (let round = 0; round < 5; round++) {
        long.push(await micros(LONG))
        short.push(await micros(SHORT))
      }
      const value = ratio(long, short)
      return [
        {
          name: 'queue of 100,000, µs a message',
          ours: median(long).toFixed(1),
          baseline: `${median(short).toFixed(1)} in a queue of 1,000`,
          value: value.toFixed(3),
          bar: `≤ ${BAR}`,
          isMet: value <= BAR,
        },
      ]
    }),
}
