import fc from 'fast-check'
import { persist } from 'holdline/storage'
import { expect, test } from 'vitest'
import type { SessionOptions } from '../../sessions/types'
import { createSessionWorld, type Loading, type SessionWorld } from './world'

// Whatever happens, in whatever order: what a page shows has no hole and nothing twice, and on a
// healthy line it is all there.

interface Said {
  readonly epoch: number
  readonly seq: number
  readonly text: string
}

/** The world, and a database that has the transcript and its cursor in one transaction. */
function createRace(hasLoad: boolean) {
  const mishaps = { lose: 0, refuse: 0 }
  const world = createSessionWorld({
    server: {
      event: (_event, _stream, next) => void (mishaps.lose-- > 0 || next()),
      post: (post, next) => (post.endpoint === 'reconnect' && mishaps.refuse-- > 0 ? post.answers(503) : next()),
    },
    connection: (storage) => ({ storage: persist(storage, { key: 'k', cursors: true }) }),
  })
  const said: Said[] = []
  let epoch = 1
  let asked: { readonly loading: Loading; readonly found: readonly Said[]; readonly epoch: number }[] = []
  let users: ReturnType<SessionWorld['use']>[] = []
  const foreign: (() => void)[] = []
  const all = (of = said) => of.map(({ text }) => text).join('')
  const load = (sessionId: string) =>
    new Promise<{ state: string; cursor: { lastSeq: number; epoch: string } }>((resolve, reject) => {
      const found = [...said]
      const loading = {
        sessionId,
        answers: (state: string, cursor: never) => resolve({ state, cursor }),
        fails: reject,
      }
      asked.push({ loading: loading as never, found, epoch })
    })
  const options: Partial<SessionOptions<string, never>> = { keepFor: 5_000, ...(hasLoad && { load: load as never }) }

  function answer(isLast: boolean) {
    const own = isLast ? asked.pop() : asked.shift()
    if (!own) return
    const last = own.found.at(-1)
    own.loading.answers(all([...own.found]), { lastSeq: last?.seq ?? 0, epoch: String(last?.epoch ?? own.epoch) })
  }

  const letters: Readonly<Record<string, () => unknown>> = {
    publish() {
      const seq = said.filter((one) => one.epoch === epoch).length + 1
      const text = `${epoch}.${seq} `
      said.push({ epoch, seq, text })
      world.harness.server.publish('s1', { type: 'token', text })
    },
    use: () => users.push(world.use('s1', options as never)),
    leave: () => users.shift()?.leave(),
    first: () => answer(false),
    last: () => answer(true),
    fail: () => asked.shift()?.loading.fails(new Error('no database')),
    cut: () => world.harness.streams.at(-1)?.fails(),
    restart() {
      epoch++
      world.harness.server.restarts()
    },
    reload() {
      for (const { loading } of asked) loading.fails(new Error('gone'))
      asked = []
      users = []
      foreign.length = 0
      world.harness.reloads()
    },
    connect: () => world.harness.connection.phase === 'idle' && world.harness.connection.connect(),
    disconnect: () => world.harness.connection.disconnect(),
    watch: () => foreign.push(world.harness.connection.watch('s1')),
    head: () => foreign.push(world.harness.connection.watch('s1', { after: 'head' })),
    unwatch: () => foreign.pop()?.(),
    forget: () => world.harness.connection.unwatch('s1'),
    lose() {
      mishaps.lose = 1
    },
    refuse() {
      mishaps.refuse = 1
    },
    second: () => world.harness.passes(1_000),
    while: () => world.harness.passes(6_000),
  }

  /** What is shown is what was said, from its begin, as far as it goes. */
  function check() {
    const state = users[0]?.view?.state
    if (state === undefined) return
    const truths = hasLoad
      ? [all()]
      : Array.from({ length: epoch }, (_, n) => all(said.filter((one) => one.epoch === n + 1)))
    if (!truths.some((truth) => truth.startsWith(state))) expect(state).toBe(truths.join(' | '))
  }

  async function heals() {
    mishaps.lose = mishaps.refuse = 0
    letters.connect?.()
    // Somebody may have let the session go behind the back of those who use it.
    for (const { leave } of users) leave()
    users = [world.use('s1', options as never)]
    for (let step = 0; step < 60; step++) {
      while (asked.length) answer(false)
      await world.harness.passes(2_000)
    }
    letters.publish?.()
    await world.harness.passes(2_000)
    while (asked.length) answer(false)
    await world.harness.passes(2_000)
    const truth = hasLoad ? all() : all(said.filter((one) => one.epoch === epoch))
    expect(users[0]?.shows).toEqual([truth, 'live'])
  }
  return { letters, check, heals, frame: world.frame }
}

/** Found by longer runs, each once wrong. */
const KNOWN = [
  ['use', 'watch', 'publish', 'restart', 'publish'],
  ['publish', 'use', 'connect', 'forget', 'restart', 'watch'],
  ['use', 'restart', 'lose', 'last', 'connect', 'publish', 'restart'],
  ['publish', 'connect', 'use', 'forget', 'restart', 'watch', 'publish', 'publish'],
  ['head', 'use', 'connect', 'publish', 'restart', 'forget', 'publish'],
]
const NAMES = Object.keys(createRace(false).letters)
const MANY = ['publish', 'publish', 'publish', 'use', 'first', 'connect'] as const

test.each([
  ['with a load', true],
  ['without a load', false],
])(
  '%s, no order of events, loads, resets, reloads and other watchers leaves a hole or a double',
  async (_, hasLoad) => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...NAMES, ...MANY), { maxLength: 40, size: 'max' }), async (names) => {
        const { letters, check, heals, frame } = createRace(hasLoad)
        for (const name of names) {
          await letters[name]?.()
          await frame()
          check()
        }
        await heals()
        check()
      }),
      {
        numRuns: Number(process.env.RUNS ?? 150),
        seed: Number(process.env.SEED ?? 7),
        examples: KNOWN.map((names) => [names] as [string[]]),
      },
    )
  },
  120_000,
)
