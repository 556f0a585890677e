import { interleave, type Measurement, median, ratio, withServer } from './_bench'

const MESSAGES = 1_000
const BAR = 1.2
const BATCH_BAR = 10

export const drain: Measurement = {
  name: 'drain',
  about: `${MESSAGES.toLocaleString('en')} queued messages, against as many bare fetch calls one after the other`,
  run: () =>
    withServer('_drainClient.ts', async (sample) => {
      const ms = (features: string) => async (subject: string) =>
        (await sample(`drain/${features}`, subject, String(MESSAGES))).ms ?? Number.NaN
      const alone = await interleave(9, ms('none'))
      const batch = await interleave(9, ms('batch'))
      const value = ratio(alone.ours, alone.baseline)
      const faster = 1 / ratio(batch.ours, batch.baseline)
      return [
        {
          name: 'drain, one in flight, ms',
          ours: median(alone.ours).toFixed(0),
          baseline: `${median(alone.baseline).toFixed(0)} bare fetch`,
          value: value.toFixed(3),
          bar: `≤ ${BAR}`,
          isMet: value <= BAR,
        },
        {
          name: 'drain with batch, ms',
          ours: median(batch.ours).toFixed(1),
          baseline: `${median(batch.baseline).toFixed(0)} bare fetch`,
          value: `${faster.toFixed(1)} times faster`,
          bar: `≥ ${BATCH_BAR}`,
          isMet: faster >= BATCH_BAR,
        },
      ]
    }),
}
