import { type Measurement, median, withServer } from './_bench'

const BAR = 200

export const trace: Measurement = {
  name: 'trace',
  about: 'bytes that one step of the flight recorder holds',
  run: () =>
    withServer('_traceClient.ts', async (sample) => {
      const samples: number[] = []
      for (let round = 0; round < 3; round++) samples.push((await sample('', 'holdline')).bytes ?? Number.NaN)
      const bytes = Math.round(median(samples))
      return [
        {
          name: 'flight recorder, bytes a step',
          ours: `${bytes}`,
          baseline: '',
          value: `${bytes}`,
          bar: `≤ ${BAR}`,
          isMet: bytes <= BAR,
        },
      ]
    }),
}
