import { createConnection } from 'holdline'
import { ALPHABET, type Environment, type Harness, type Letter, RESETS } from 'holdline/testing'
import { FEATURES, type Feature } from '../../src/protocol'

// What is explored in `npm test` with few letters, and with more in the field.

const DETACHES = FEATURES.filter((feature) => feature !== 'suspend-keeps')

/** What bears on a suspend; the first letter leads to an open line that watches a session. */
const SUSPENDS = 'resume ok,resume 404,page hides,page shows,suspend ok,suspend lost after,send,send ok,event,replayed'
const AROUND = 'time passes,probe answered,headers wait,headers come,stream silent,watch s2,watch ok,unwatch s1,wake'

const opens: Letter = {
  isEnabled: ({ connection }) => connection.phase === 'idle',
  async act(world) {
    for (const letter of ['watch s1', 'connect', 'stream welcomed', 'resume ok', 'replayed']) {
      if (ALPHABET[letter]?.isEnabled(world)) await ALPHABET[letter].act(world)
      await world.harness.settles()
    }
  },
}

function suspendAlphabet() {
  const names = [...SUSPENDS.split(','), ...AROUND.split(',')]
  const known = Object.entries(ALPHABET).filter(([name]) => names.includes(name))
  if (known.length !== names.length) throw new Error('a letter has another name')
  return { opens, ...Object.fromEntries(known) }
}

/** Servers that detach the sessions of a page that goes away. */
export const SUSPENDING = (
  [
    ['no feature', { features: [] }],
    ['probes', { features: ['probe'] as readonly Feature[] }],
    ['all others', { features: DETACHES, heartbeat: 20_000 }],
  ] as const
).map(([name, options]) => [name, { ...options, alphabet: suspendAlphabet() }] as const)

/**
 * An app that watches a session, and shows its events, of a server that loses what it had.
 * `forgets`: it does not care that history was lost.
 */
export function createShowingApp({ forgets = false } = {}) {
  let shown: unknown[] = []
  const create = (environment: Environment) => {
    shown = []
    const connection = createConnection(environment)
    connection.on('message', ({ seq }) => shown.push(seq))
    connection.on('session', ({ status }) => {
      if (status !== 'resumed' && !forgets) shown = []
    })
    connection.watch('s1')
    return connection
  }
  const onStep = ({ told }: Harness) => {
    const lost = told.findLastIndex(({ name, event }) => name === 'session' && event.status === 'reset')
    const since = told.slice(lost + 1).filter(({ name }) => name === 'message').length
    if (shown.length > since) throw new Error(`${shown.length} events are shown, of which ${since} are of this history`)
  }
  return { create, onStep, alphabet: { ...ALPHABET, ...RESETS } }
}
