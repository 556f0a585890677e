import { interleave, type Measurement, median, type Result, ratio, withServer } from './_bench'

const MESSAGES = 300_000
const BAR = 0.9
const FETCH_STREAM_BAR = 1.15

export const inbound: Measurement = {
  name: 'inbound',
  about: `${MESSAGES.toLocaleString('en')} session events over HTTP, against eventsource + JSON.parse + Map.set + one listener`,
  run: () =>
    withServer('_inboundClient.ts', async (sample) => {
      const flood = (subject: string) => sample(`flood/${MESSAGES}`, subject, String(MESSAGES))
      // The server makes its flood once, on demand.
      await flood('bare')
      return [
        await hold('holdline', BAR, 'inbound, messages per CPU second'),
        await hold('fetchStream', FETCH_STREAM_BAR, 'the same over fetchStreamTransport'),
      ]

      async function hold(subject: 'holdline' | 'fetchStream', bar: number, name: string): Promise<Result> {
        const wall = { ours: [] as number[], bare: [] as number[] }
        // Per second of CPU time: on an idle machine that is what the clock says too, on a busy one
        // it is not noise.
        const sampled = async (which: typeof subject | 'bare') => {
          const took = await flood(which)
          wall[which === 'bare' ? 'bare' : 'ours'].push(took.wall ?? Number.NaN)
          return 1e6 / (took.cpu ?? Number.NaN)
        }
        const { ours, baseline } = await interleave(11, sampled, subject)
        const value = ratio(ours, baseline)
        console.log(`${subject}, by the clock: ${(1 / ratio(wall.ours, wall.bare)).toFixed(3)}`)
        return {
          name,
          ours: Math.round(median(ours)).toLocaleString('en'),
          baseline: `${Math.round(median(baseline)).toLocaleString('en')} bare eventsource`,
          value: value.toFixed(3),
          bar: `≥ ${bar}`,
          isMet: value >= bar,
        }
      }
    }),
}
