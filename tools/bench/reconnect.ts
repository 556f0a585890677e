import { interleave, type Measurement, median, ratio, withServer } from './_bench'

const ROUNDS = 500
const BAR = 1.7

export const reconnect: Measurement = {
  name: 'reconnect',
  about: 'from a destroyed socket to `open`, backoff drawn as 0, against a new EventSource and one POST',
  run: () =>
    withServer('_reconnectClient.ts', async (sample) => {
      const micros = async (subject: string) => (await sample('cut/me', subject, String(ROUNDS))).median ?? Number.NaN
      const { ours, baseline } = await interleave(7, micros)
      const value = ratio(ours, baseline)
      return [
        {
          name: 'reconnect, ms',
          ours: (median(ours) / 1_000).toFixed(2),
          baseline: `${(median(baseline) / 1_000).toFixed(2)} bare eventsource + fetch`,
          value: value.toFixed(3),
          bar: `≤ ${BAR}`,
          isMet: value <= BAR,
        },
      ]
    }),
}
