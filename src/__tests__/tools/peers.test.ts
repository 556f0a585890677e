import { describe, expect, test } from 'vitest'
import { withProgram } from '../../../tools/bench/peers/build'
import { PEERS } from '../../../tools/bench/peers/peers'
import { busy, promptUnanswered } from '../../../tools/bench/peers/scenarios'
import { formatTables, type Results, type Row } from '../../../tools/bench/peers/table'

const ROW: Row = {
  name: 'eventsource',
  versions: ['eventsource 1.2.3'],
  carrier: 'SSE',
  server: 'plain',
  bundle: 3_449,
  inbound: [100_000, 200_000, 400_000],
  drop: [3_001, 3_000.4, 3_020],
  busy: [{ requests: 1, back: null }],
  silent: [{ noticed: null, back: null }],
  promptWhileDown: [],
  promptIntoSilence: [],
  promptUnanswered: [],
}
const resultsOf = (rows: readonly Row[]): Results => ({
  at: '2026-01-02T03:04:05.678Z',
  node: '20.1.0',
  cores: 2,
  messages: 100_000,
  rounds: 3,
  rows,
})

/** Of the rows under the heads of both tables: their cells, without the name. */
const cellsOf = (row: Partial<Row>) =>
  formatTables(resultsOf([ROW, { ...ROW, name: 'other', ...row }]))
    .split('\n')
    .filter((line) => line.startsWith('| other'))
    .flatMap((line) => line.slice(2, -2).split(' | ').slice(1))

describe('the tables', () => {
  test('a row says the same in both: medians, ranges, and a ratio to the baseline of the same round', () => {
    const prompted = [{ arrivals: 1, told: 'accepted' }]
    const row = {
      bundle: 40_003,
      inbound: [200_000, 100_000, 1_200_000],
      drop: [1_200, 100, 310],
      busy: [
        { requests: 2, back: 900 },
        { requests: 4, back: 2_100 },
      ],
      silent: [{ noticed: 16_100, back: 16_500 }],
      promptWhileDown: prompted,
      promptIntoSilence: prompted,
      promptUnanswered: prompted,
    }
    expect(cellsOf(row)).toEqual([
      'SSE',
      '40.0',
      '200,000 (× 2.00)',
      '310 (100–1,200)',
      'back 1.5 (0.9–2.1) s after it; 2–4 requests',
      'noticed after 16.1 (16.1–16.1) s, usable after 16.5 (16.5–16.5) s',
      'arrives, once; told accepted',
      'arrives, once; told accepted',
      'arrives, once; told accepted',
    ])
  })

  test('the baseline has no ratio, and a library without a way up says so', () => {
    const [head, , baseline] = formatTables(resultsOf([ROW])).split('\n')
    expect(head).toContain('| messages per CPU second |')
    expect(baseline).toBe(
      '| eventsource | SSE | 3.4 | 200,000 | 3,001 (3,000–3,020) | not back in 60 s; 1 request | not noticed in 60 s |',
    )
    expect(cellsOf({}).slice(-3)).toEqual(['no way up', 'no way up', 'no way up'])
  })

  test.each([
    [[{ arrivals: 0, told: null }], 'lost; told nothing'],
    [[{ arrivals: 1, told: 'an error: closed | lost' }], 'arrives, once; told an error'],
    [[{ arrivals: 2, told: 'accepted' }], 'arrives, up to 2 times; told accepted'],
    [
      [
        { arrivals: 1, told: 'answered' },
        { arrivals: 0, told: 'an error: timeout' },
      ],
      'arrives in 1 of 2, once; told an error or answered',
    ],
  ])('of prompts %j: %s', (promptWhileDown, cell) => {
    expect(cellsOf({ promptWhileDown })).toContain(cell)
  })

  test('a round without an end is counted, not left out', () => {
    const cells = cellsOf({
      drop: [null, 3_000],
      busy: [
        { requests: 3, back: 1_000 },
        { requests: 9, back: null },
      ],
      silent: [
        { noticed: 29_000, back: null },
        { noticed: null, back: null },
      ],
    })
    expect(cells).toContain('3,000 (3,000–3,000); never: 1 of 2')
    expect(cells).toContain('back 1.0 (1.0–1.0) s after it; 1 of 2 not back in 60 s; 3–9 requests')
    expect(cells).toContain('noticed after 29.0 (29.0–29.0) s, not usable again; 1 of 2 not noticed in 60 s')
  })

  test('they end with what was measured, where, and in which versions', () => {
    const text = formatTables(resultsOf([ROW]))
    expect(text).toContain('Made on 2026-01-02 with Node 20.1.0 on 2 cores: 3 rounds, floods of 100,000 messages.')
    expect(text).toContain('- eventsource 1.2.3; server: plain')
  })
})

// With what is there without `npm run bench:peers`: holdline and the package `eventsource`.
describe('the scenarios', () => {
  const peerOf = (client: string) => {
    const peer = PEERS.find((peer) => peer.client === client)
    if (!peer) throw new Error(`there is no ${client}`)
    return peer
  }

  test(
    'a server that answers 503 for a moment: holdline comes back, an EventSource is over [spec]',
    () =>
      withProgram(async (program) => {
        const [ours, bare] = await Promise.all([
          busy({ peer: peerOf('holdline'), program }, 100),
          busy({ peer: peerOf('eventsource'), program }, 100, 5_000),
        ])
        expect(ours.requests).toBeGreaterThan(0)
        expect(ours.back).toBeGreaterThan(0)
        expect(bare).toEqual({ requests: 1, back: null })
      }),
    90_000,
  )

  test(
    'a prompt whose answer is lost arrives once with holdline, and is accepted',
    () =>
      withProgram(async (program) => {
        const outcome = await promptUnanswered({ peer: peerOf('holdline-fetch'), program })
        expect(outcome).toEqual({ arrivals: 1, told: 'accepted' })
      }),
    90_000,
  )
})
