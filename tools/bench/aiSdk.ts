import { type Measurement, median, ratio, type Sample, type Sampler, withServer } from './_bench'

/** Words of one part are joined in a burst; of two parts in turns they never are. */
type Words = 'joined' | 'single'

const DELTAS = 20_000
const ROUNDS = 7
/** A fast model says 100 tokens a second. ms between two. */
const PACE = 10
const PACED_DELTAS = 500
const CPU_BAR = 0.8
const BYTES_BAR = 1.5

export const aiSdk: Measurement = {
  name: 'aiSdk',
  about: "text deltas through useChat's transport, against DefaultChatTransport: CPU time, and bytes on the wire",
  run: () =>
    withServer('_aiSdk.ts', async (sample) => {
      // The worst case: each delta is an event of its own.
      const single = await both(sample, ROUNDS, DELTAS, 'single', 0)
      const joined = await both(sample, 3, DELTAS, 'joined', 0)
      const paced = await both(sample, 3, PACED_DELTAS, 'joined', PACE)
      for (const [name, pair] of Object.entries({ single, joined, paced }))
        console.log(`${name.padEnd(8)} ${tell(pair)}`)
      const speed = 1 / ratioOf(single, 'client')
      const bytes = ratioOf(paced, 'bytes')
      return [
        {
          name: 'AI SDK, deltas per CPU second of the page',
          ours: perSecond(single.ours),
          baseline: `${perSecond(single.bare)} DefaultChatTransport`,
          value: speed.toFixed(3),
          bar: `≥ ${CPU_BAR}`,
          isMet: speed >= CPU_BAR,
        },
        {
          name: `AI SDK, bytes per delta at ${1_000 / PACE} a second`,
          ours: medianOf(paced.ours, 'bytes').toFixed(0),
          baseline: `${medianOf(paced.bare, 'bytes').toFixed(0)} DefaultChatTransport`,
          value: `× ${bytes.toFixed(2)}`,
          bar: `≤ × ${BYTES_BAR}`,
          isMet: bytes <= BYTES_BAR,
        },
      ]
    }),
}

interface Pair {
  readonly ours: readonly Sample[]
  readonly bare: readonly Sample[]
}

async function both(sample: Sampler, rounds: number, deltas: number, words: Words, pace: number): Promise<Pair> {
  const ours: Sample[] = []
  const bare: Sample[] = []
  const args = [String(deltas), words, String(pace)]
  for (let round = 0; round < rounds; round++) {
    ours.push(await sample('', 'holdline', ...args))
    bare.push(await sample('', 'bare', ...args))
  }
  return { ours, bare }
}

const partOf = (samples: readonly Sample[], part: string) => samples.map((sample) => sample[part] ?? Number.NaN)
const medianOf = (samples: readonly Sample[], part: string) => median(partOf(samples, part))
const ratioOf = ({ ours, bare }: Pair, part: string) => ratio(partOf(ours, part), partOf(bare, part))
const perSecond = (samples: readonly Sample[]) => Math.round(1e6 / medianOf(samples, 'client')).toLocaleString('en')

const tell = (pair: Pair) =>
  ['client', 'server', 'bytes']
    .map((part) => {
      const [ours, bare] = [medianOf(pair.ours, part), medianOf(pair.bare, part)]
      return `${part} ${ours.toFixed(1)} / ${bare.toFixed(1)} (× ${ratioOf(pair, part).toFixed(2)})`
    })
    .join('  ')
