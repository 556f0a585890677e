import { interleave, type Measurement, median, withServer } from './_bench'

const CONNECTIONS = 1_000
const BAR = 33 * 1_024

export const heap: Measurement = {
  name: 'heap',
  about: `bytes that each of ${CONNECTIONS} quiet open connections holds, above a bare eventsource client`,
  async run() {
    const { kept, ...parts } = await withServer('_heapParts.ts', (sample) => sample('', ''))
    console.log('without a network, bytes each:')
    for (const [part, bytes] of Object.entries(parts)) console.log(`${String(Math.round(bytes)).padStart(8)}  ${part}`)
    return withServer('_heapClient.ts', async (sample) => {
      const bytes = async (subject: string) =>
        (await sample('quiet/line', subject, String(CONNECTIONS))).bytes ?? Number.NaN
      const { ours, baseline } = await interleave(5, bytes)
      const value = Math.round(median(ours) - median(baseline))
      return [
        {
          name: 'heap per connection, bytes',
          ours: Math.round(median(ours)).toLocaleString('en'),
          baseline: `${Math.round(median(baseline)).toLocaleString('en')} bare eventsource`,
          value: `+${value.toLocaleString('en')}`,
          bar: `≤ +${BAR.toLocaleString('en')}`,
          isMet: value <= BAR,
        },
      ]
    })
  },
}
