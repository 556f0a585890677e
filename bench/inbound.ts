import { interleave, type Measurement, median, ratio, withServer } from './_bench'

const MESSAGES = 300_000
const BAR = 0.95

export const inbound: Measurement = {
  name: 'inbound',
  about: `${MESSAGES.toLocaleString('en')} session events over HTTP, against eventsource + JSON.parse + Map.set + one listener`,
  run: () =>
    withServer('_inboundClient.ts', async (sample) => {
      const flood = (subject: string) => sample(`flood/${MESSAGES}`, subject, String(MESSAGES))
      // The server makes its flood once, on demand.
      await flood('bare')
      const wall = { holdline: [] as number[], bare: [] as number[] }
      // Per second of CPU time: on an idle machine that is what the clock says too, on a busy one it is not noise.
      const { ours, baseline } = await interleave(11, async (subject) => {
        const took = await flood(subject)
        wall[subject].push(took.wall ?? Number.NaN)
        return 1e6 / (took.cpu ?? Number.NaN)
      })
      const value = ratio(ours, baseline)
      console.log(`by the clock: ${(1 / ratio(wall.holdline, wall.bare)).toFixed(3)}`)
      return [
        {
          name: 'inbound, messages per CPU second',
          ours: Math.round(median(ours)).toLocaleString('en'),
          baseline: `${Math.round(median(baseline)).toLocaleString('en')} bare eventsource`,
          value: value.toFixed(3),
          bar: `≥ ${BAR}`,
          isMet: value >= BAR,
        },
      ]
    }),
}
