import { type Measurement, median, type Sample, withServer } from './_bench'

const STREAMS = 5_000
const ROUNDS = 5
const BAR = 20
const SUBJECTS = ['holdline', 'bare', 'hono'] as const

export const streams: Measurement = {
  name: 'streams',
  about: `resident memory of a server for each of ${STREAMS} quiet streams with a ping every 15 s, and of a bare node:http server`,
  async run() {
    const samples = await withServer('_streamsServer.ts', async (sample) => {
      const rounds: Sample[][] = []
      // At the same time, because most of it is waiting: memory does not mind company.
      for (let round = 0; round < ROUNDS; round++) {
        rounds.push(await Promise.all(SUBJECTS.map((subject) => sample('', subject, String(STREAMS)))))
      }
      return SUBJECTS.map((_, column) => rounds.map((round) => round[column] ?? {}))
    })
    const [ours = [], bare = [], hono = []] = samples
    console.log('KiB each:        holdline   hono, bare stream   node:http')
    for (const part of ['rss', 'heap', 'buffers', 'untouched']) {
      console.log(
        [part.padEnd(12), ...[ours, hono, bare].map((side) => kib(side, part).toFixed(1).padStart(12))].join(''),
      )
    }
    const value = kib(ours, 'rss')
    return [
      {
        name: 'RSS per server stream, KiB',
        ours: value.toFixed(1),
        baseline: `${kib(bare, 'rss').toFixed(1)} node:http, ${kib(hono, 'rss').toFixed(1)} hono`,
        value: `+${(value - kib(bare, 'rss')).toFixed(1)}`,
        bar: `≤ ${BAR}`,
        isMet: value <= BAR,
      },
    ]
  },
}

const kib = (samples: readonly Sample[], part: string) =>
  median(samples.map((sample) => sample[part] ?? Number.NaN)) / 1_024
