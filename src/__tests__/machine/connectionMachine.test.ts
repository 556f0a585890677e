import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConnectionError } from '../../errors'
import { type ConnectionEvent, connectionMachine, type Phase, type ServerDelay } from '../../machine'
import type { Cursor, Feature } from '../../protocol'
import {
  bareForbidden,
  bye,
  CURSORS,
  connect,
  disconnect,
  disowned,
  doubtful,
  drained,
  failed,
  fatal,
  gapped,
  leaf,
  MOVED,
  NOT_MOVED,
  notFound,
  opened,
  POLICY,
  policy,
  probed,
  proved,
  reconnect,
  refused,
  replayed,
  reset,
  silence,
  silent,
  startMachine,
  step,
  streamFailed,
  succeeded,
  suspended,
  transient,
  unanswered,
  unauthorized,
  upstreamUnauthorized,
  wake,
  walk,
  wanted,
  welcome,
} from '../support/machine'

const MARKER: readonly Feature[] = ['replay-marker']

/** The columns, short for the innermost states. */
const STATES = {
  idle: 'idle',
  conn: 'connecting',
  await: 'awaitingWelcome',
  post: 'posting',
  repl: 'replaying',
  conf: 'confirming',
  steady: 'steady',
  probe: 'probing',
  doubt: 'doubting',
  susp: 'suspended',
  back: 'backoff',
} as const
type Column = keyof typeof STATES
type State = (typeof STATES)[Column]

const PHASE_OF: Record<State, Phase> = {
  idle: 'idle',
  connecting: 'connecting',
  awaitingWelcome: 'awaitingWelcome',
  posting: 'reconnecting',
  replaying: 'reconnecting',
  confirming: 'reconnecting',
  steady: 'open',
  probing: 'open',
  doubting: 'open',
  suspended: 'open',
  backoff: 'backoff',
}

/** What happened before the event of a row. */
interface World {
  readonly features?: readonly Feature[]
  readonly heartbeat?: number | null
  /** Resumes that this stream has seen; the last one is in flight. Default 1. */
  readonly resumes?: 2
  /** The last resume moved nothing, and this is the second. */
  readonly fruitless?: true
  /** The stream before this one failed. */
  readonly attempt?: 1
  /** The streams before this one were refused with a 403 that may pass. */
  readonly refusals?: 2
  /** The server has caused as many resumes and resets without a pause as it may. */
  readonly flaps?: 5
  /** The resume is that of a stream that was suspended. */
  readonly farewell?: 'said'
}

/** How a state is reached. `resuming` has its resume in flight. */
function pathTo(state: State, world: World) {
  const { features = [], heartbeat = 15_000, resumes, fruitless, attempt, refusals, flaps = 0, farewell } = world
  const refusal = [refused(bareForbidden), wake()]
  const start = [
    connect,
    ...(attempt ? [streamFailed(), wake()] : []),
    ...(refusals ? [...refusal, ...refusal] : []),
    ...Array.from({ length: flaps }, reset),
  ]
  const resuming = (more: readonly Feature[] = []) => {
    const announced = [...features, ...more]
    if (farewell) return [...start, welcome([], announced, heartbeat), suspended(), wake()]
    const greet = welcome(CURSORS, announced, heartbeat)
    const again = announced.includes('replay-marker')
      ? [succeeded(), replayed('r1', NOT_MOVED)]
      : [succeeded(NOT_MOVED)]
    return [...start, greet, ...(resumes ? [greet] : []), ...(fruitless ? again : [])]
  }
  const current = resumes || fruitless ? 'r2' : 'r1'
  switch (state) {
    case 'idle':
      return []
    case 'connecting':
      return start
    case 'awaitingWelcome':
      return [...start, opened]
    case 'posting':
      return resuming()
    case 'replaying':
      return [...resuming(MARKER), succeeded()]
    case 'confirming':
      return [...resuming(), replayed(current)]
    case 'steady':
      return [...start, welcome([], features, heartbeat)]
    case 'probing':
      return [...start, welcome([], [...features, 'probe'], heartbeat), wake()]
    case 'doubting':
      return [...start, welcome([], [...features, 'probe'], heartbeat), doubtful]
    case 'suspended':
      // With `suspend-keeps` there is no such thing.
      return [
        ...start,
        welcome(
          [],
          features.filter((feature) => feature !== 'suspend-keeps'),
          heartbeat,
        ),
        suspended(),
      ]
    case 'backoff':
      return [...start, streamFailed()]
  }
}

const EVENTS: Record<string, readonly [ConnectionEvent, World?]> = {
  connect: [connect],
  disconnect: [disconnect],
  reconnect: [reconnect],
  'wake, probe announced': [wake(), { features: ['probe'] }],
  'wake, away for more than two heartbeats': [wake(30_001)],
  'wake, away for two heartbeats': [wake(30_000)],
  'wake without a heartbeat, away for more than 10 s': [wake(10_001), { heartbeat: null }],
  'wake without a heartbeat, away for 10 s': [wake(10_000), { heartbeat: null }],
  'page.suspended': [suspended()],
  'page.suspended, suspend-keeps announced': [suspended(), { features: ['suspend-keeps'] }],
  'stream.opened': [opened],
  'stream.welcomed, no cursors': [welcome()],
  'stream.welcomed, cursors': [welcome(CURSORS)],
  'stream.replayed, its id': [replayed('r1')],
  'stream.replayed, its id, the second resume': [replayed('r2'), { resumes: 2 }],
  'stream.replayed, no id, a single resume': [replayed(null)],
  'stream.replayed, no id, the second resume': [replayed(null), { resumes: 2 }],
  'stream.replayed, a wrong id': [replayed('r9')],
  'stream.replayed, the id of the resume before': [replayed('r1'), { resumes: 2 }],
  'stream.replayed, its id, left-overs': [replayed('r1', MOVED)],
  'stream.replayed, no id, left-overs': [replayed(null, MOVED)],
  'stream.replayed, a wrong id, left-overs': [replayed('r9', MOVED)],
  'stream.replayed, left-overs, fruitless again': [replayed('r2', NOT_MOVED), { fruitless: true }],
  'stream.replayed, left-overs, progress at last': [replayed('r2', MOVED), { fruitless: true }],
  'stream.gapped': [gapped()],
  'stream.gapped by the server, five flaps': [gapped(NOT_MOVED, true), { flaps: 5 }],
  'stream.gapped by the app, five flaps': [gapped(), { flaps: 5 }],
  'stream.welcomed, five flaps': [welcome(CURSORS), { flaps: 5 }],
  'stream.replayed, a hole, five flaps': [replayed('r1', MOVED, true), { flaps: 5 }],
  'stream.replayed, a wrong id, a hole, five flaps': [replayed('r9', MOVED, true), { flaps: 5 }],
  'stream.replayed, watched meanwhile, five flaps': [replayed('r1', MOVED), { flaps: 5 }],
  'stream.reset': [reset()],
  'stream.reset, five flaps': [reset(), { flaps: 5 }],
  'stream.probed, its nonce': [probed('p1')],
  'stream.probed, another nonce': [probed('p0')],
  'stream.drained': [drained()],
  'stream.failed': [streamFailed()],
  'stream.silent': [silent],
  'stream.refused': [refused()],
  'stream.refused, it may pass': [refused(bareForbidden)],
  'stream.refused, it may pass, the third in a row': [refused(bareForbidden), { refusals: 2 }],
  'upstream.disowned, attempt = 0': [disowned],
  'upstream.disowned, attempt > 0': [disowned, { attempt: 1 }],
  'upstream.unauthorized': [upstreamUnauthorized],
  'upstream.doubtful, probe announced': [doubtful, { features: ['probe'] }],
  'upstream.doubtful': [doubtful],
  'upstream.proved': [proved],
  'upstream.wanted': [wanted],
  'resume.succeeded': [succeeded()],
  'resume.succeeded, marker announced': [succeeded(), { features: MARKER }],
  'resume.succeeded, left-overs': [succeeded(MOVED)],
  'resume.succeeded, left-overs, marker announced': [succeeded(MOVED), { features: MARKER }],
  'resume.succeeded, left-overs, fruitless again': [succeeded(NOT_MOVED), { fruitless: true }],
  'resume.succeeded, left-overs, progress at last': [succeeded(MOVED), { fruitless: true }],
  'resume.succeeded, a hole, five flaps': [succeeded(MOVED, true), { flaps: 5 }],
  'resume.succeeded, of a suspended stream': [succeeded(), { farewell: 'said' }],
  'resume.succeeded, of a suspended stream, probe announced': [succeeded(), { farewell: 'said', features: ['probe'] }],
  'stream.replayed, of a suspended stream, probe announced': [
    replayed('r1'),
    { farewell: 'said', features: ['probe'] },
  ],
  'resume.failed, 404': [failed(notFound)],
  'resume.failed, 404, of a suspended stream': [failed(notFound), { farewell: 'said' }],
  'resume.failed, no sign, of a suspended stream': [failed(unanswered), { farewell: 'said' }],
  'resume.failed, 503, of a suspended stream': [failed(), { farewell: 'said' }],
  'resume.failed, transient': [failed()],
  'resume.failed, fatal': [failed(fatal)],
}

/** Design §2, down to the innermost states; `–` is refused. */
const TABLE = `
  event                                                    | idle | conn   | await  | post   | repl   | conf   | steady | probe  | doubt  | susp   | back
  connect                                                  | conn | –      | –      | –      | –      | –      | –      | –      | –      | –      | –
  disconnect                                               | –    | idle   | idle   | idle   | idle   | idle   | idle   | idle   | idle   | idle   | idle
  reconnect                                                | –    | conn   | conn   | conn   | conn   | conn   | conn   | conn   | conn   | conn   | conn
  wake, probe announced                                    | –    | –      | –      | –      | –      | –      | probe  | –      | –      | post   | conn
  wake, away for more than two heartbeats                  | –    | –      | –      | –      | –      | –      | conn   | –      | –      | conn   | conn
  wake, away for two heartbeats                            | –    | –      | –      | –      | –      | –      | –      | –      | –      | post   | conn
  wake without a heartbeat, away for more than 10 s        | –    | –      | –      | –      | –      | –      | conn   | –      | –      | conn   | conn
  wake without a heartbeat, away for 10 s                  | –    | –      | –      | –      | –      | –      | –      | –      | –      | post   | conn
  page.suspended                                           | –    | –      | –      | –      | –      | –      | susp   | susp   | susp   | susp   | –
  page.suspended, suspend-keeps announced                  | –    | –      | –      | –      | –      | –      | –      | –      | –      | susp   | –
  stream.opened                                            | –    | await  | –      | –      | –      | –      | –      | –      | –      | –      | –
  stream.welcomed, no cursors                              | –    | steady | steady | steady | steady | steady | steady | steady | steady | steady | –
  stream.welcomed, cursors                                 | –    | post   | post   | post   | post   | post   | post   | post   | post   | post   | –
  stream.replayed, its id                                  | –    | –      | –      | conf   | steady | –      | –      | –      | –      | –      | –
  stream.replayed, its id, the second resume               | –    | –      | –      | conf   | steady | –      | –      | –      | –      | –      | –
  stream.replayed, no id, a single resume                  | –    | –      | –      | conf   | steady | –      | –      | –      | –      | –      | –
  stream.replayed, no id, the second resume                | –    | –      | –      | –      | –      | –      | –      | –      | –      | –      | –
  stream.replayed, a wrong id                              | –    | –      | –      | –      | –      | –      | –      | –      | –      | –      | –
  stream.replayed, the id of the resume before             | –    | –      | –      | –      | –      | –      | –      | –      | –      | –      | –
  stream.replayed, its id, left-overs                      | –    | –      | –      | conf   | post   | –      | –      | –      | –      | –      | –
  stream.replayed, no id, left-overs                       | –    | –      | –      | conf   | post   | –      | –      | –      | –      | –      | –
  stream.replayed, a wrong id, left-overs                  | –    | –      | –      | –      | –      | –      | –      | –      | –      | –      | –
  stream.replayed, left-overs, fruitless again             | –    | –      | –      | conf   | back   | –      | –      | –      | –      | –      | –
  stream.replayed, left-overs, progress at last            | –    | –      | –      | conf   | post   | –      | –      | –      | –      | –      | –
  stream.gapped                                            | –    | –      | –      | –      | –      | –      | post   | post   | post   | post   | –
  stream.gapped by the server, five flaps                  | –    | –      | –      | –      | –      | –      | back   | back   | back   | back   | –
  stream.gapped by the app, five flaps                     | –    | –      | –      | –      | –      | –      | post   | post   | post   | post   | –
  stream.welcomed, five flaps                              | –    | post   | post   | back   | back   | back   | back   | back   | back   | back   | –
  stream.replayed, a hole, five flaps                      | –    | –      | –      | conf   | back   | –      | –      | –      | –      | –      | –
  stream.replayed, a wrong id, a hole, five flaps          | –    | –      | –      | –      | –      | –      | –      | –      | –      | –      | –
  stream.replayed, watched meanwhile, five flaps           | –    | –      | –      | conf   | post   | –      | –      | –      | –      | –      | –
  stream.reset                                             | –    | conn   | await  | post   | repl   | conf   | steady | probe  | doubt  | susp   | –
  stream.reset, five flaps                                 | –    | back   | back   | back   | back   | back   | back   | back   | back   | back   | –
  stream.probed, its nonce                                 | –    | –      | –      | –      | –      | –      | –      | steady | steady | –      | –
  stream.probed, another nonce                             | –    | –      | –      | –      | –      | –      | –      | –      | –      | –      | –
  stream.drained                                           | –    | back   | back   | back   | back   | back   | back   | back   | back   | back   | –
  stream.failed                                            | –    | back   | back   | back   | back   | back   | back   | back   | back   | back   | –
  stream.silent                                            | –    | –      | –      | back   | back   | back   | back   | back   | back   | back   | –
  stream.refused                                           | –    | idle   | idle   | –      | –      | –      | –      | –      | –      | –      | –
  stream.refused, it may pass                              | –    | back   | back   | –      | –      | –      | –      | –      | –      | –      | –
  stream.refused, it may pass, the third in a row          | –    | idle   | idle   | –      | –      | –      | –      | –      | –      | –      | –
  upstream.disowned, attempt = 0                           | –    | –      | –      | –      | –      | –      | conn   | conn   | conn   | conn   | –
  upstream.disowned, attempt > 0                           | –    | –      | –      | –      | –      | –      | back   | back   | back   | back   | –
  upstream.unauthorized                                    | –    | –      | –      | –      | –      | –      | idle   | idle   | idle   | idle   | –
  upstream.doubtful, probe announced                       | –    | –      | –      | –      | –      | –      | doubt  | doubt  | –      | –      | –
  upstream.doubtful                                        | –    | –      | –      | –      | –      | –      | –      | doubt  | –      | –      | –
  upstream.proved                                          | –    | –      | –      | –      | –      | –      | steady | probe  | doubt  | susp   | –
  upstream.wanted                                          | –    | –      | –      | –      | –      | –      | –      | –      | –      | post   | –
  resume.succeeded                                         | –    | –      | –      | steady | –      | steady | –      | –      | –      | –      | –
  resume.succeeded, marker announced                       | –    | –      | –      | repl   | –      | steady | –      | –      | –      | –      | –
  resume.succeeded, left-overs                             | –    | –      | –      | post   | –      | post   | –      | –      | –      | –      | –
  resume.succeeded, left-overs, marker announced           | –    | –      | –      | repl   | –      | post   | –      | –      | –      | –      | –
  resume.succeeded, left-overs, fruitless again            | –    | –      | –      | back   | –      | back   | –      | –      | –      | –      | –
  resume.succeeded, left-overs, progress at last           | –    | –      | –      | post   | –      | post   | –      | –      | –      | –      | –
  resume.succeeded, a hole, five flaps                     | –    | –      | –      | back   | –      | back   | –      | –      | –      | –      | –
  resume.succeeded, of a suspended stream                  | –    | –      | –      | steady | –      | steady | –      | –      | –      | –      | –
  resume.succeeded, of a suspended stream, probe announced | –    | –      | –      | probe  | –      | steady | –      | –      | –      | –      | –
  stream.replayed, of a suspended stream, probe announced  | –    | –      | –      | conf   | steady | –      | –      | –      | –      | –      | –
  resume.failed, 404                                       | –    | –      | –      | back   | back   | back   | –      | –      | –      | –      | –
  resume.failed, 404, of a suspended stream                | –    | –      | –      | conn   | conn   | conn   | –      | –      | –      | –      | –
  resume.failed, no sign, of a suspended stream            | –    | –      | –      | conn   | conn   | conn   | –      | –      | –      | –      | –
  resume.failed, 503, of a suspended stream                | –    | –      | –      | back   | back   | back   | –      | –      | –      | –      | –
  resume.failed, transient                                 | –    | –      | –      | back   | back   | back   | –      | –      | –      | –      | –
  resume.failed, fatal                                     | –    | –      | –      | idle   | idle   | idle   | –      | –      | –      | –      | –
`
const [[, ...columns] = [], ...rows] = TABLE.trim()
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))

interface Cell {
  readonly name: string
  readonly from: State
  readonly to: State | null
}
const CELLS = rows.flatMap(([name = '', ...cells]) =>
  cells.map(
    (cell, index): Cell => ({
      name,
      from: STATES[columns[index] as Column],
      to: cell === '–' ? null : STATES[cell as Column],
    }),
  ),
)
const given = ({ name, from }: Cell) => {
  const [event, world = {}] = EVENTS[name] ?? []
  if (!event) throw new Error(`the table has an event that is not defined: ${name}`)
  return { event, path: pathTo(from, world) }
}

describe('the transition table', () => {
  test('has a column for each innermost state of the machine', () => {
    type Node = { readonly key: string; readonly states: Readonly<Record<string, Node>> }
    const leavesOf = ({ key, states }: Node): string[] => {
      const inner = Object.values(states)
      return inner.length === 0 ? [key] : inner.flatMap(leavesOf)
    }
    const leaves = leavesOf(connectionMachine.root as Node)
    expect(columns.map((column) => STATES[column as Column]).sort()).toEqual(leaves.sort())
  })

  test('has a row for each event of the machine, and no row is forgotten', () => {
    const types = rows.map(([name = '']) => EVENTS[name]?.[0].type)
    const known = connectionMachine.events.filter((type) => !type.startsWith('xstate.'))
    expect([...new Set(types)].sort()).toEqual([...known].sort())
    expect(rows.map(([name]) => name)).toEqual(Object.keys(EVENTS))
    expect(CELLS).toHaveLength(Object.keys(EVENTS).length * 11)
  })

  const accepted = CELLS.flatMap((cell) => (cell.to === null ? [] : [{ ...cell, to: cell.to }]))
  const refused = CELLS.filter(({ to }) => to === null)

  test.each(accepted)('$from: $name → $to', (cell) => {
    const { from, to } = cell
    const { event, path } = given(cell)
    const before = walk(path)
    expect(leaf(before)).toBe(from)

    const after = step(before, event)
    expect(after.refused).toBe(false)
    expect(after.leaf).toBe(to)
    expect(after.phase).toBe(PHASE_OF[to])

    // What exists, what is closed and what is told follows from where it leads.
    const isOpen = (state: State) => PHASE_OF[state] === 'open'
    const isResuming = (state: State) => PHASE_OF[state] === 'reconnecting'
    const isStreaming = (state: State) => state !== 'idle' && state !== 'backoff'
    const stays = event.type === 'stream.reset' && to === from
    const staysOpen =
      isOpen(from) && (['probing', 'doubting', 'suspended'].includes(to) || /probed|proved/.test(event.type) || stays)
    const closes = isOpen(from) && !staysOpen
    const opens = (to === 'steady' || to === 'probing') && !staysOpen
    const stops = to === 'idle' && event.type !== 'disconnect'
    expect(after.started.includes('eventStream')).toBe(to === 'connecting' && !stays)
    expect(after.stopped.includes('eventStream')).toBe(
      isStreaming(from) && (!isStreaming(to) || to === 'connecting') && !stays,
    )
    expect(after.started.includes('resume')).toBe(to === 'posting' && !stays)
    expect(after.stopped.includes('resume')).toBe(isResuming(from) && (!isResuming(to) || to === 'posting') && !stays)
    const isProbing = (state: State) => state === 'probing' || state === 'doubting'
    // A proof ends no probe that is under way.
    const goesOn = stays || (isProbing(from) && from === to && event.type === 'upstream.proved')
    expect(after.started.includes('probe')).toBe(isProbing(to) && !goesOn)
    expect(after.stopped.includes('probe')).toBe(isProbing(from) && !goesOn)
    expect(after.started.includes('outbox')).toBe(from === 'idle')
    expect(after.stopped.includes('outbox')).toBe(to === 'idle')
    expect(after.started.includes('pageLifecycle')).toBe(from === 'idle')
    expect(after.stopped.includes('pageLifecycle')).toBe(to === 'idle')
    const holds = closes || (to === 'doubting' && !goesOn)
    const releases = opens || (from === 'doubting' && to === 'steady' && staysOpen)
    const suspends = event.type === 'page.suspended'
    expect(after.told).toEqual([
      ...(holds ? ['hold'] : []),
      ...(releases ? ['release'] : []),
      ...(suspends ? ['suspend'] : []),
    ])
    expect(after.emitted.map(({ type }) => type)).toEqual([
      ...(closes ? ['closed'] : []),
      ...(stops ? ['stopped'] : []),
      ...(opens ? ['opened'] : []),
    ])
  })

  test.each(refused)('$from: $name is refused', (cell) => {
    const { event, path } = given(cell)
    const before = walk(path)
    expect(leaf(before)).toBe(cell.from)

    const after = step(before, event)
    expect(after.refused).toBe(true)
    expect(after.actions).toEqual([])
    expect(after.next.value).toEqual(before.value)
    expect(after.next.context).toBe(before.context)
  })

  test('what is refused is neither too little nor too much: the machine alive reports the same', () => {
    expect(refused.length + accepted.length).toBe(CELLS.length)
    for (const cell of CELLS) {
      const { event, path } = given(cell)
      const machine = startMachine()
      machine.send(...path)
      const before = machine.actor.getSnapshot()
      machine.send(event)
      expect([cell, machine.leaf]).toEqual([cell, cell.to ?? cell.from])
      if (cell.to === null) expect(machine.actor.getSnapshot().context).toBe(before.context)
      machine.actor.stop()
    }
  })
})

const OPEN = [connect, welcome()]
const OPEN_WITH_MARKER = [connect, welcome([], MARKER)]
const POSTING = [connect, welcome(CURSORS)]
const REPLAYING = [connect, welcome(CURSORS, MARKER), succeeded()]

describe('closed tells why', () => {
  test.each<[string, ConnectionEvent, ConnectionError?]>([
    ['disconnect', disconnect],
    ['reconnect', reconnect],
    ['wake', wake(60_000)],
    ['welcome', welcome()],
    ['welcome', welcome(CURSORS)],
    ['gap', gapped()],
    ['goodbye', drained(), bye],
    ['failed', streamFailed(), transient],
    ['silent', silent, silence],
    ['disowned', disowned, notFound],
    ['unauthorized', upstreamUnauthorized, unauthorized],
  ])('%s', (reason, event, error) => {
    const { emitted } = step(walk(OPEN), event)
    expect(emitted[0]).toEqual(error ? { type: 'closed', reason, error } : { type: 'closed', reason })
  })

  test('probe-timeout, when the stream does not answer', () => {
    const machine = startMachine()
    machine.send(connect, welcome([], ['probe']), wake())
    machine.clock.advance(2_000)
    expect(machine.emitted.at(-1)).toEqual({ type: 'closed', reason: 'probe-timeout' })
  })

  test('C08: nothing, for a line that was never open', () => {
    const neverOpen: readonly (readonly ConnectionEvent[])[] = [
      [connect],
      [connect, opened],
      POSTING,
      REPLAYING,
      [...POSTING, replayed('r1')],
      [connect, streamFailed()],
    ]
    const endings = [
      disconnect,
      reconnect,
      streamFailed(),
      silent,
      drained(),
      failed(),
      failed(fatal),
      refused(),
      refused(bareForbidden),
    ]
    for (const path of neverOpen) {
      for (const ending of endings) {
        const types = step(walk(path), ending).emitted.map(({ type }) => type)
        expect(types).not.toContain('closed')
      }
    }
  })
})

describe('a stream that is welcomed', () => {
  test('C12: opens directly when there is nothing to resume', () => {
    const { phase, started, emitted } = step(walk([connect, opened]), welcome())
    expect([phase, started, emitted]).toEqual(['open', [], [{ type: 'opened', connectionId: 'c1' }]])
  })

  test('C18: is resumed first when there are cursors, on the first connection too', () => {
    const { phase, started, emitted, told, next } = step(walk([connect, opened]), welcome(CURSORS))
    expect([phase, started, emitted, told]).toEqual(['reconnecting', ['resume'], [], []])
    expect(next.context.cursors).toEqual(CURSORS)
  })

  test('C01: C02: a welcome is not enough: the outbox is released by the end of the resume', () => {
    const resuming = walk(POSTING)
    expect(resuming.hasTag('open')).toBe(false)
    const { told, emitted } = step(resuming, succeeded())
    expect(told).toEqual(['release'])
    expect(emitted).toEqual([{ type: 'opened', connectionId: 'c1' }])
  })

  test('lends its name, heartbeat and features to the line, and takes them along when it goes', () => {
    const streaming = walk([connect, welcome(CURSORS, ['probe', 'batch'], 700)]).context
    expect(streaming).toMatchObject({ connectionId: 'c1', heartbeat: 700, features: ['probe', 'batch'] })
    const gone = walk([connect, welcome(CURSORS, ['probe', 'batch'], 700), streamFailed()]).context
    expect(gone).toMatchObject({ connectionId: null, heartbeat: null, features: [], cursors: [], resumeId: null })
  })

  test('C04: a second time during a resume aborts the first resume and starts another, and nothing opens twice', () => {
    const machine = startMachine()
    machine.send(connect, welcome(CURSORS), welcome(NOT_MOVED))
    expect(machine.log.filter((entry) => entry.includes('resume '))).toEqual(['+resume r1', '-resume r1', '+resume r2'])
    expect(machine.live('resume')).toBe(1)
    expect(machine.context).toMatchObject({ resumeId: 'r2', cursors: NOT_MOVED })
    machine.send(succeeded())
    expect(machine.emitted).toEqual([{ type: 'opened', connectionId: 'c1' }])
  })

  test('a second time while open closes the line and opens it again under the new name', () => {
    const renamed: ConnectionEvent = {
      type: 'stream.welcomed',
      connectionId: 'c2',
      heartbeat: null,
      features: [],
      cursors: [],
    }
    const { emitted, told } = step(walk(OPEN), renamed)
    expect(emitted).toEqual([
      { type: 'closed', reason: 'welcome' },
      { type: 'opened', connectionId: 'c2' },
    ])
    expect(told).toEqual(['hold', 'release'])
  })
})

describe('a resume', () => {
  test('C03: that ends after a disconnect has no one to tell', () => {
    const machine = startMachine()
    machine.send(...POSTING)
    machine.send(disconnect)
    machine.tellAsResume(succeeded())
    expect(machine.phase).toBe('idle')
    expect(machine.emitted).toEqual([])
    machine.send(connect, welcome(CURSORS))
    expect(machine.leaf).toBe('posting')
  })

  test('C09: of the stream before has no one to tell, before and after the next welcome', () => {
    const machine = startMachine()
    machine.send(...POSTING)
    const before = machine.actor.getSnapshot().children.resume
    machine.send(reconnect)
    machine.tellAsResume(succeeded())
    expect(machine.leaf).toBe('connecting')
    machine.send(welcome(CURSORS))
    expect(machine.actor.getSnapshot().children.resume).not.toBe(before)
    expect(machine.leaf).toBe('posting')
    expect(machine.emitted).toEqual([])
  })

  test('C05: C06: that fails opens nothing: the stream is dropped and the line waits', () => {
    const { phase, emitted, told, stopped } = step(walk(POSTING), failed())
    expect([phase, emitted, told]).toEqual(['backoff', [], []])
    expect(stopped).toEqual(expect.arrayContaining(['resume', 'eventStream']))
  })

  test('C14: that fails leaves its error behind', () => {
    expect(step(walk(POSTING), failed()).next.context.lastError).toBe(transient)
  })

  test('C07: that fails every time is repeated at growing distances, although every welcome is fine', () => {
    const machine = startMachine(policy({ base: 500, cap: 30_000 }, () => 0.999))
    machine.send(connect)
    const delays = Array.from({ length: 8 }, () => {
      machine.send(welcome(CURSORS), failed())
      expect(machine.phase).toBe('backoff')
      const { delay } = machine.context
      machine.clock.advance(delay)
      return delay
    })
    expect(delays).toEqual([500, 999, 1_998, 3_996, 7_992, 15_984, 29_970, 29_970])
  })

  test('that is forbidden stops the line, with its error', () => {
    const { phase, emitted, next } = step(walk(POSTING), failed(fatal))
    expect(phase).toBe('idle')
    expect(emitted).toEqual([{ type: 'stopped', error: fatal }])
    expect(next.context.lastError).toBe(fatal)
  })

  test('carries a new id each time, also after a hole in an open line', () => {
    const ids = [POSTING, [...POSTING, welcome(CURSORS)], [...POSTING, succeeded(), gapped()]].map(
      (path) => walk(path).context.resumeId,
    )
    expect(ids).toEqual(['r1', 'r2', 'r2'])
  })

  test('C34: after a hole carries the cursors that were told with the hole', () => {
    const machine = startMachine()
    machine.send(...OPEN, gapped(MOVED))
    expect(machine.context.cursors).toEqual(MOVED)
    expect(machine.log.at(-1)).toBe('+resume r1')
  })

  test('C19: is repeated for the left-overs alone, and nothing is released before', () => {
    const left: readonly Cursor[] = [{ sessionId: 's9', lastSeq: 0 }]
    const machine = startMachine()
    machine.send(...POSTING, succeeded(left))
    expect(machine.leaf).toBe('posting')
    expect(machine.context).toMatchObject({ resumeId: 'r2', cursors: left })
    expect(machine.log).not.toContain('outbox start')
    machine.send(succeeded())
    expect(machine.phase).toBe('open')
    expect(machine.log).toContain('outbox start')
  })

  test('C19: with a marker to come, left-overs are judged at the marker', () => {
    const replaying = step(walk([connect, welcome(CURSORS, MARKER)]), succeeded(NOT_MOVED))
    expect(replaying.leaf).toBe('replaying')
    expect(step(replaying.next, replayed('r1')).phase).toBe('open')
    expect(step(replaying.next, replayed('r1', MOVED)).next.context).toMatchObject({ resumeId: 'r2', cursors: MOVED })
  })
})

describe('the marker of a replay', () => {
  test('C56: of an earlier resume confirms nothing', () => {
    const afterHole = [...REPLAYING, replayed('r1'), gapped(), succeeded()]
    expect(leaf(walk(afterHole))).toBe('replaying')
    expect(step(walk(afterHole), replayed('r1')).refused).toBe(true)
    expect(step(walk(afterHole), replayed('r2')).phase).toBe('open')
  })

  test('C56: of the resume before a second welcome confirms nothing, whether the POST is answered or not', () => {
    const posting = walk([...REPLAYING, welcome(CURSORS, MARKER)])
    expect(step(posting, replayed('r1')).refused).toBe(true)
    const replaying = step(posting, succeeded()).next
    expect(step(replaying, replayed('r1')).refused).toBe(true)
    expect(step(replaying, replayed('r2')).phase).toBe('open')
  })

  test('C56: without an id counts on a stream with a single resume only, and again on the next stream', () => {
    const second = [...REPLAYING, welcome(CURSORS, MARKER), succeeded()]
    expect(step(walk(second), replayed(null)).refused).toBe(true)
    const nextStream = [...second, reconnect, welcome(CURSORS, MARKER), succeeded()]
    expect(step(walk(nextStream), replayed(null)).phase).toBe('open')
  })

  test('may come before the answer to the POST, and opens nothing by itself', () => {
    const confirming = step(walk([connect, welcome(CURSORS, MARKER)]), replayed('r1'))
    expect([confirming.leaf, confirming.emitted]).toEqual(['confirming', []])
    expect(step(confirming.next, succeeded()).phase).toBe('open')
  })
})

describe('a resume without progress', () => {
  const withMarker = (...more: ConnectionEvent[]) => [connect, welcome(CURSORS, MARKER), ...more]

  test('is repeated at once the first time, and counted', () => {
    const { leaf, next } = step(walk(POSTING), succeeded(NOT_MOVED))
    expect([leaf, next.context.fruitless]).toEqual(['posting', 1])
  })

  test('goes through backoff the second time in a row, and says so', () => {
    const { phase, next } = step(walk([...POSTING, succeeded(NOT_MOVED)]), succeeded(NOT_MOVED))
    expect(phase).toBe('backoff')
    expect(next.context.lastError).toMatchObject({ code: 'no-progress', retryable: true })
  })

  test('goes through backoff the second time in a row, where a marker ends the replay', () => {
    const again = [succeeded(), replayed('r1', NOT_MOVED), succeeded()]
    expect(step(walk(withMarker(...again)), replayed('r2', NOT_MOVED)).phase).toBe('backoff')
    expect(step(walk(withMarker(...again)), replayed('r2', MOVED)).leaf).toBe('posting')
  })

  test('stays counted over the stream that it ended with', () => {
    const next = walk([...POSTING, succeeded(NOT_MOVED), succeeded(NOT_MOVED), wake(), welcome(CURSORS)])
    expect(step(next, succeeded(NOT_MOVED)).phase).toBe('backoff')
  })

  test('is forgotten by progress, by an open line and by connect', () => {
    const progress = [...POSTING, succeeded(NOT_MOVED), succeeded(MOVED)]
    expect(walk(progress).context.fruitless).toBe(0)
    expect(walk([...POSTING, succeeded(NOT_MOVED), succeeded()]).context.fruitless).toBe(0)
    expect(walk([...POSTING, succeeded(NOT_MOVED), disconnect, connect]).context.fruitless).toBe(0)
  })

  test.each<[string, readonly Cursor[], boolean]>([
    ['the same cursor', NOT_MOVED, false],
    ['both cursors as they were', CURSORS, false],
    ['a cursor that moved', MOVED, true],
    ['a cursor of another epoch', [{ sessionId: 's1', lastSeq: 7, epoch: 'e2' }], true],
    ['a session that was not part of it', [{ sessionId: 's9', lastSeq: 7 }], true],
    ['one cursor that moved next to one that did not', [...MOVED, { sessionId: 's2', lastSeq: 3 }], true],
  ])('is judged by the left-overs: %s', (_, leftOvers, isProgress) => {
    expect(step(walk(POSTING), succeeded(leftOvers)).next.context.fruitless).toBe(isProgress ? 0 : 1)
  })
})

describe('an attempt', () => {
  test('is counted on each way into backoff', () => {
    const ways = [
      [connect, streamFailed()],
      [connect, drained()],
      [...OPEN, silent],
      [...POSTING, failed()],
      [...POSTING, succeeded(NOT_MOVED), succeeded(NOT_MOVED)],
    ]
    expect(ways.map((path) => walk(path).context.attempt)).toEqual([1, 1, 1, 1, 1])
  })

  test('is not counted by commands and by waking', () => {
    const path = [connect, reconnect, welcome(), wake(60_000), opened, welcome(), disconnect, connect]
    expect(walk(path).context.attempt).toBe(0)
    expect(walk([connect, streamFailed(), wake(), reconnect]).context.attempt).toBe(1)
  })

  test('C57: a 404 costs one, so the second in a row is paced', () => {
    const first = step(walk(OPEN), disowned)
    expect([first.leaf, first.next.context.attempt]).toEqual(['connecting', 1])
    expect(first.next.context.lastError).toBe(notFound)
    const second = step(walk([...OPEN, disowned, welcome()]), disowned)
    expect([second.leaf, second.next.context.attempt]).toEqual(['backoff', 2])
    const resumed = step(walk([...OPEN, disowned, welcome(CURSORS)]), failed(notFound))
    expect([resumed.leaf, resumed.next.context.attempt]).toEqual(['backoff', 2])
  })

  test('C57: a load balancer without stickiness gets attempts that grow apart', () => {
    const machine = startMachine(policy({ base: 500, cap: 30_000 }, () => 0.999))
    machine.send(connect)
    const starts = [machine.clock.now()]
    for (let count = 0; count < 7; count += 1) {
      machine.send(welcome(), disowned)
      while (machine.phase === 'backoff') machine.clock.advance(machine.context.delay)
      starts.push(machine.clock.now())
    }
    const waits = starts.slice(1).map((at, index) => at - (starts[index] ?? 0))
    expect(waits).toEqual([0, 999, 1_998, 3_996, 7_992, 15_984, 29_970])
  })

  test('C38: is not forgotten by a line that opens for less than stableDelay, again and again', () => {
    const machine = startMachine()
    machine.send(connect)
    for (let count = 1; count <= 6; count += 1) {
      machine.send(welcome())
      machine.clock.advance(4_999)
      machine.send(streamFailed())
      expect(machine.context.attempt).toBe(count)
      machine.clock.advance(machine.context.delay)
    }
  })

  test('C38: is forgotten after stableDelay of a steady line, not a ms before', () => {
    const machine = startMachine()
    machine.send(connect, streamFailed(), wake(), welcome())
    machine.clock.advance(4_999)
    expect(machine.context.attempt).toBe(1)
    machine.clock.advance(1)
    expect(machine.context.attempt).toBe(0)
    expect(machine.phase).toBe('open')
    expect(machine.emitted).toEqual([{ type: 'opened', connectionId: 'c1' }])
  })

  test('C38: is not forgotten by a line that is welcomed anew before it is stable', () => {
    const machine = startMachine()
    machine.send(connect, streamFailed(), wake())
    for (let count = 0; count < 4; count += 1) {
      machine.send(welcome())
      machine.clock.advance(3_000)
    }
    expect(machine.context.attempt).toBe(1)
  })

  test('is forgotten by connect, together with the last error', () => {
    const { context } = walk([connect, streamFailed(), disconnect, connect])
    expect(context).toMatchObject({ attempt: 0, lastError: null })
  })

  test('upstream.disowned starts the count anew only after a stable line', () => {
    const machine = startMachine()
    machine.send(...OPEN, disowned, welcome())
    machine.clock.advance(5_000)
    machine.send(disowned)
    expect(machine.leaf).toBe('connecting')
  })
})

describe('C107: resumes and resets that the server causes', () => {
  /** One of each kind, and the end of the resume that it leads to. */
  const FLAPS: readonly [string, readonly ConnectionEvent[]][] = [
    ['holes', [gapped(NOT_MOVED, true), succeeded()]],
    ['second welcomes', [welcome()]],
    ['second welcomes with sessions', [welcome(CURSORS), succeeded()]],
    ['resets', [reset()]],
  ]
  const times = (count: number, events: readonly ConnectionEvent[]) =>
    Array.from({ length: count }, () => events).flat()

  test.each(FLAPS)('%s: five without a pause are free, each one more goes through backoff', (_, events) => {
    const machine = startMachine()
    machine.send(...OPEN, ...times(5, events))
    expect([machine.phase, machine.context.attempt]).toEqual(['open', 0])
    for (const attempt of [1, 2, 3]) {
      machine.send(...events.slice(0, 1))
      expect([machine.phase, machine.context.attempt]).toEqual(['backoff', attempt])
      expect(machine.context.lastError?.code).toBe('flapping')
      machine.send(wake(), welcome())
    }
  })

  test.each(FLAPS)('%s: stableDelay without any of them makes the next ones free again, not a ms less', (_, events) => {
    for (const [quiet, phase] of [
      [4_999, 'backoff'],
      [5_000, 'open'],
    ] as const) {
      const machine = startMachine()
      machine.send(...OPEN)
      machine.clock.advance(60_000)
      machine.send(...times(5, events))
      machine.clock.advance(quiet)
      machine.send(...events)
      expect([quiet, machine.phase]).toEqual([quiet, phase])
    }
  })

  test('holes behind each replay, for ever, are counted as well, and the marker of another resume is not', () => {
    const moved = (count: number): readonly Cursor[] => [{ sessionId: 's1', lastSeq: 100 * count }]
    const replay = (count: number) => [succeeded(), replayed(`r${count}`, moved(count), true)]
    const resuming = walk([connect, welcome(CURSORS, MARKER), ...[1, 2, 3, 4, 5].flatMap(replay), succeeded()])
    expect([leaf(resuming), resuming.context.flaps]).toEqual(['replaying', 5])
    expect(step(resuming, replayed('r1', moved(6), true)).refused).toBe(true)
    expect(step(resuming, replayed('r6', moved(6), true)).phase).toBe('backoff')
    expect(step(resuming, replayed('r6', moved(6))).phase).toBe('reconnecting')
  })

  test('are told as closed, once', () => {
    expect(step(walk([...OPEN, ...times(5, [reset()])]), reset()).emitted).toEqual([
      { type: 'closed', reason: 'failed' },
    ])
    expect(step(walk([...OPEN, ...times(5, [reset()])]), gapped(NOT_MOVED, true)).emitted).toEqual([
      { type: 'closed', reason: 'gap' },
    ])
  })

  test('are not those that the app causes: it may watch a hundred sessions, one after the other', () => {
    const watched = walk([...OPEN, ...times(100, [gapped(), succeeded(MOVED), succeeded()])])
    expect([watched.context.flaps, leaf(watched)]).toEqual([0, 'steady'])
  })

  test('are forgotten by connect', () => {
    expect(walk([...OPEN, ...times(5, [reset()]), disconnect, connect]).context.flaps).toBe(0)
  })
})

describe('giving up', () => {
  const failures = (count: number) =>
    Array.from({ length: count }, () => [streamFailed(), wake()])
      .flat()
      .slice(0, -1)

  test('maxAttempts 0: the first failure is the last', () => {
    const none = policy({ maxAttempts: 0 })
    const { phase, emitted, next } = step(walk([connect], none), streamFailed())
    expect(phase).toBe('idle')
    expect(emitted).toEqual([
      { type: 'stopped', error: expect.objectContaining({ code: 'gave-up', cause: transient }) },
    ])
    expect(next.context.lastError).toMatchObject({ code: 'gave-up', retryable: false })
  })

  test('maxAttempts 0: a 404 is the last as well, and closed comes before stopped', () => {
    const { phase, emitted } = step(walk(OPEN, policy({ maxAttempts: 0 })), disowned)
    expect(phase).toBe('idle')
    expect(emitted).toMatchObject([
      { type: 'closed', reason: 'disowned' },
      { type: 'stopped', error: { code: 'gave-up', cause: notFound } },
    ])
  })

  test('maxAttempts 1: one retry, then no more', () => {
    const one = policy({ maxAttempts: 1 })
    expect(leaf(walk([connect, ...failures(1)], one))).toBe('backoff')
    expect(leaf(walk([connect, ...failures(1), wake(), streamFailed()], one))).toBe('idle')
  })

  test('maxAttempts 1: the fresh stream after a 404 is that one retry', () => {
    const path = [...OPEN, disowned]
    expect(leaf(walk(path, policy({ maxAttempts: 1 })))).toBe('connecting')
    expect(leaf(walk([...path, streamFailed()], policy({ maxAttempts: 1 })))).toBe('idle')
  })

  test('maxAttempts Infinity: never', () => {
    expect(leaf(walk([connect, ...failures(300)]))).toBe('backoff')
    expect(walk([connect, ...failures(300)]).context.attempt).toBe(300)
  })

  test('leaves no timer and no resource behind, and connect starts again', () => {
    const machine = startMachine(policy({ maxAttempts: 0 }))
    machine.send(connect, streamFailed())
    expect(machine.clock.pending).toEqual([])
    for (const name of ['eventStream', 'pageLifecycle', 'poster', 'resume']) expect(machine.live(name)).toBe(0)
    machine.send(connect)
    expect(machine.phase).toBe('connecting')
    expect(machine.context).toMatchObject({ attempt: 0, lastError: null })
  })
})

describe('a timeout', () => {
  test.each<[string, readonly ConnectionEvent[], number, string]>([
    ['connect: no stream', [connect], 15_000, 'connect'],
    ['welcome: no welcome', [connect, opened], 10_000, 'welcome'],
    ['resume: no answer to the POST', POSTING, 15_000, 'resume'],
    ['resume: the marker came, the answer does not', [...POSTING, replayed('r1')], 15_000, 'resume'],
  ])('%s', (_, path, ms, what) => {
    const machine = startMachine()
    machine.send(...path)
    const before = machine.phase
    machine.clock.advance(ms - 1)
    expect(machine.phase).toBe(before)
    machine.clock.advance(1)
    expect(machine.phase).toBe('backoff')
    const message = `${what} took longer than ${ms} ms (timeouts.${what})`
    expect(machine.context.lastError).toMatchObject({ code: 'timeout', retryable: true, message })
    expect(machine.context.attempt).toBe(1)
    expect(machine.emitted).toEqual([])
    expect(machine.live('eventStream')).toBe(0)
    expect(machine.live('resume')).toBe(0)
  })

  test('C20: the answer of a resume gets its whole time again after the marker', () => {
    const machine = startMachine()
    machine.send(...POSTING)
    machine.clock.advance(14_000)
    machine.send(replayed('r1'))
    machine.clock.advance(14_999)
    expect(machine.leaf).toBe('confirming')
    machine.clock.advance(1)
    expect(machine.leaf).toBe('backoff')
  })

  test('C60: a replay that goes on has none of its own: the resume actor says when it stalls', () => {
    const machine = startMachine()
    machine.send(...REPLAYING)
    expect(machine.clock.pending).toEqual([])
    machine.send(failed(new ConnectionError('timeout', 'the replay stalled', { retryable: true })))
    expect(machine.phase).toBe('backoff')
  })

  test('that follows another, for hours, does not drag all of them along as its cause', () => {
    const machine = startMachine()
    machine.send(connect)
    for (let count = 0; count < 50; count += 1) machine.clock.advance(60_000)
    expect(machine.context.attempt).toBeGreaterThan(50)
    let depth = 0
    for (let error: unknown = machine.context.lastError; error instanceof Error; error = error.cause) depth += 1
    expect(depth).toBe(1)
  })

  test('C22: probe: a stream that does not answer is replaced at once, and the attempt is not counted', () => {
    const machine = startMachine()
    machine.send(connect, welcome([], ['probe']), wake(60_000))
    expect(machine.live('probe')).toBe(1)
    machine.clock.advance(1_999)
    expect(machine.leaf).toBe('probing')
    machine.clock.advance(1)
    expect(machine.leaf).toBe('connecting')
    expect(machine.context).toMatchObject({ attempt: 0, lastError: { code: 'probe-timeout' } })
    expect(machine.live('probe')).toBe(0)
    expect(machine.log.filter((entry) => entry.endsWith('eventStream'))).toEqual([
      '+eventStream',
      '-eventStream',
      '+eventStream',
    ])
  })

  test('C22: probe: the answer on the stream ends it, and the line was open all the time', () => {
    const machine = startMachine()
    machine.send(connect, welcome([], ['probe']), wake())
    machine.send(probed('p1'))
    expect(machine.leaf).toBe('steady')
    machine.clock.advance(2_000)
    expect(machine.leaf).toBe('steady')
    expect(machine.emitted.map(({ type }) => type)).toEqual(['opened'])
    expect(machine.live('probe')).toBe(0)
  })

  test('C22: probe: a late answer to an earlier probe proves nothing', () => {
    const machine = startMachine()
    machine.send(connect, welcome([], ['probe']), wake(), probed('p1'), wake(), probed('p1'))
    expect(machine.leaf).toBe('probing')
    machine.send(probed('p2'))
    expect(machine.leaf).toBe('steady')
  })

  test('connect and welcome are two timers: a stream that opens late has the whole time to be welcomed', () => {
    const machine = startMachine()
    machine.send(connect)
    machine.clock.advance(14_999)
    machine.send(opened)
    machine.clock.advance(9_999)
    expect(machine.phase).toBe('awaitingWelcome')
  })
})

describe('backoff', () => {
  test('says from its entry on when it ends, by the clock that it was given', () => {
    expect(walk([connect, streamFailed()], { ...POLICY, now: () => 1_000 }).context.retryAt).toBe(1_250)
  })

  test('waits for the delay that was drawn, then opens a fresh stream', () => {
    const machine = startMachine()
    machine.send(connect, streamFailed())
    expect(machine.context.delay).toBe(250)
    expect(machine.live('eventStream')).toBe(0)
    machine.clock.advance(249)
    expect(machine.phase).toBe('backoff')
    machine.clock.advance(1)
    expect(machine.phase).toBe('connecting')
    expect(machine.live('eventStream')).toBe(1)
  })

  test('C41: its timer does not outlive it', () => {
    for (const event of [disconnect, reconnect, wake()]) {
      const machine = startMachine()
      machine.send(connect, streamFailed(), event)
      const { leaf } = machine
      machine.clock.advance(251)
      expect(machine.leaf).toBe(leaf)
      expect(machine.live('eventStream')).toBe(event.type === 'disconnect' ? 0 : 1)
      expect(machine.log.filter((entry) => entry === '+eventStream')).toHaveLength(event.type === 'disconnect' ? 1 : 2)
    }
  })

  test('C42: hide and show during the wait opens one stream', () => {
    const machine = startMachine()
    machine.send(connect, streamFailed(), wake(), wake(), reconnect)
    machine.clock.advance(250)
    expect(machine.live('eventStream')).toBe(1)
  })

  const told = (retryAfter: number | undefined) =>
    new ConnectionError('http', '503', { retryable: true, status: 503, retryAfter })
  const waitsOf = (path: readonly ConnectionEvent[], random: () => number) =>
    walk(path, policy({}, random)).context.delay

  test.each<[string, (delay: number) => ConnectionEvent]>([
    ['Retry-After of a resume', (delay) => failed(told(delay))],
    ['goodbye', (retryAfter) => drained({ retryAfter })],
  ])('C40: %s is a floor, with jitter above it', (_, event) => {
    const before = [connect, welcome(CURSORS)]
    expect(waitsOf([...before, event(20_000)], () => 0)).toBe(20_000)
    expect(waitsOf([...before, event(20_000)], () => 0.5)).toBe(25_000)
    expect(waitsOf([...before, event(3_600_000)], () => 0)).toBe(300_000)
  })

  test('C40: what a server asked for is used once: the next backoff is the client’s own again', () => {
    const asked: ServerDelay = { retryAfter: 60_000, spread: 0 }
    const path = [connect, drained(asked)]
    expect(walk(path).context).toMatchObject({ delay: 60_000, serverDelay: {} })
    expect(walk([...path, wake(), streamFailed()]).context.delay).toBe(500)
  })

  test('C40: Retry-After of a 404 that led to a fresh stream does not delay what fails later', () => {
    const asked = new ConnectionError('unknown-stream', '404', { retryable: true, status: 404, retryAfter: 60_000 })
    const path: ConnectionEvent[] = [...OPEN, { type: 'upstream.disowned', error: asked }, streamFailed()]
    expect(walk(path).context.delay).toBe(500)
  })

  test('C40: the spread of a goodbye is the server’s to choose', () => {
    const path = [...OPEN, drained({ retryAfter: 10_000, spread: 1_000 })]
    expect(waitsOf(path, () => 0.5)).toBe(10_500)
  })

  test('grows with each attempt in a row and never beyond the cap', () => {
    const machine = startMachine(policy({ base: 100, cap: 1_000 }, () => 0.999))
    machine.send(connect)
    const delays = Array.from({ length: 6 }, () => {
      machine.send(streamFailed())
      const { delay } = machine.context
      machine.clock.advance(delay)
      return delay
    })
    expect(delays).toEqual([100, 200, 400, 799, 999, 999])
  })
})

describe('a terminal stop', () => {
  test.each<[string, readonly ConnectionEvent[], ConnectionEvent, ConnectionError]>([
    ['401 on the stream', [connect], refused(), unauthorized],
    ['401 on the stream, after it opened', [connect, opened], refused(), unauthorized],
    ['401 on a POST', OPEN, upstreamUnauthorized, unauthorized],
    ['403 on the resume', POSTING, failed(fatal), fatal],
    ['401 on the resume', POSTING, failed(unauthorized), unauthorized],
  ])('C31: %s: idle, lastError, stopped, nothing left', (_, path, event, error) => {
    const machine = startMachine()
    machine.send(...path, event)
    expect(machine.phase).toBe('idle')
    expect(machine.context.lastError).toBe(error)
    expect(machine.emitted.at(-1)).toEqual({ type: 'stopped', error })
    expect(machine.clock.pending).toEqual([])
    expect([...machine.log].filter((entry) => entry.startsWith('+')).length).toBe(
      machine.log.filter((entry) => entry.startsWith('-')).length,
    )
  })

  test('an open line has no last error, and a disconnect is no error either', () => {
    expect(walk([connect, streamFailed(), wake(), welcome()]).context.lastError).toBeNull()
    expect(step(walk(OPEN), disconnect).emitted).toEqual([{ type: 'closed', reason: 'disconnect' }])
    expect(walk([...OPEN, disconnect]).context.lastError).toBeNull()
  })
})

const anyDelay = fc.record({
  retryAfter: fc.option(fc.integer({ min: 0, max: 400_000 }), { nil: undefined }),
  spread: fc.option(fc.integer({ min: 0, max: 400_000 }), { nil: undefined }),
})
const anyCursors = fc.constantFrom<readonly Cursor[]>([], [], [], CURSORS, NOT_MOVED, MOVED)
const anyFeatures = fc.subarray<Feature>(['replay-marker', 'probe', 'contiguous-seq'])
const anyResumeId = fc.constantFrom(null, 'r1', 'r2', 'r3')
const anyEvent: fc.Arbitrary<ConnectionEvent> = fc.oneof(
  { weight: 6, arbitrary: fc.constant(connect) },
  { weight: 1, arbitrary: fc.constant(disconnect) },
  { weight: 1, arbitrary: fc.constant(reconnect) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 60_000 }).map(wake) },
  { weight: 2, arbitrary: fc.constant(opened) },
  {
    weight: 6,
    arbitrary: fc.tuple(anyCursors, anyFeatures, fc.constantFrom(null, 15_000)).map((args) => welcome(...args)),
  },
  { weight: 4, arbitrary: fc.tuple(anyResumeId, anyCursors).map((args) => replayed(...args)) },
  { weight: 2, arbitrary: anyCursors.map(gapped) },
  { weight: 2, arbitrary: fc.constantFrom('p1', 'p2', '').map(probed) },
  { weight: 1, arbitrary: anyDelay.map(drained) },
  { weight: 1, arbitrary: fc.constantFrom(streamFailed(), silent, refused(), refused(bareForbidden)) },
  { weight: 2, arbitrary: fc.constantFrom(disowned, upstreamUnauthorized) },
  { weight: 5, arbitrary: anyCursors.map(succeeded) },
  { weight: 1, arbitrary: fc.constantFrom(failed(), failed(fatal), failed(notFound)) },
)
const anyPolicy = fc
  .tuple(fc.constantFrom(0, 1, 3, Number.POSITIVE_INFINITY), fc.double({ min: 0, max: 0.999, noNaN: true }))
  .map(([maxAttempts, random]) => policy({ maxAttempts }, () => random))

describe('whatever happens', () => {
  test('I7: opened and closed alternate, beginning with opened, and say what the phase says', () => {
    let openings = 0
    fc.assert(
      fc.property(anyPolicy, fc.array(anyEvent, { maxLength: 60, size: 'max' }), (input, events) => {
        const wrong: unknown[] = []
        let snapshot = walk([], input)
        let isOpen = false
        for (const event of events) {
          const { next, emitted, phase, refused, actions } = step(snapshot, event)
          for (const { type } of emitted) {
            if (type === 'stopped') {
              if (phase !== 'idle') wrong.push([event.type, 'stopped', phase])
              continue
            }
            if (type !== (isOpen ? 'closed' : 'opened')) wrong.push([event.type, type, 'twice'])
            isOpen = type === 'opened'
            if (isOpen) openings += 1
          }
          if (isOpen !== (phase === 'open')) wrong.push([event.type, phase, { isOpen }])
          if (refused && (actions.length > 0 || next.context !== snapshot.context)) wrong.push([event.type, 'refused'])
          snapshot = next
        }
        expect(wrong).toEqual([])
      }),
      { numRuns: 1_500 },
    )
    expect(openings).toBeGreaterThan(1_000)
  })

  test('I1, I2, I3, I8, C38: streams, resumes, the gate, timers and attempts belong to their states', () => {
    const anyStep = fc.oneof(
      { weight: 5, arbitrary: anyEvent },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 20_000 }) },
    )
    let resets = 0
    fc.assert(
      fc.property(anyPolicy, fc.array(anyStep, { maxLength: 50, size: 'max' }), (input, steps) => {
        const wrong: unknown[] = []
        const machine = startMachine(input)
        let lastChange = machine.clock.now()
        for (const next of steps) {
          const before = { attempt: machine.context.attempt, facts: machine.emitted.length }
          if (typeof next === 'number') machine.clock.advance(next)
          else machine.send(next)

          const { phase, leaf } = machine
          const check = (what: string, holds: boolean) => holds || wrong.push([what, leaf, next])
          check('alive', machine.actor.getSnapshot().status === 'active')
          check('one stream', machine.live('eventStream') === (phase === 'idle' || phase === 'backoff' ? 0 : 1))
          check('one resume', machine.live('resume') === (phase === 'reconnecting' ? 1 : 0))
          check('one probe', machine.live('probe') === (leaf === 'probing' ? 1 : 0))
          check('one page listener', machine.live('pageLifecycle') === (phase === 'idle' ? 0 : 1))
          check('one poster', machine.live('poster') === (phase === 'idle' ? 0 : 1))
          check('one timer', machine.clock.pending.length <= (phase === 'idle' ? 0 : 1))
          const gate = machine.log.findLast((entry) => /^(outbox|.poster)/.test(entry))
          check('the gate', (gate === 'outbox start') === (phase === 'open'))

          if (machine.emitted.length > before.facts) lastChange = machine.clock.now()
          if (machine.context.attempt < before.attempt) {
            const isStable = phase === 'open' && machine.clock.now() - lastChange >= 5_000
            check('attempts', isStable || (typeof next === 'object' && next.type === 'connect'))
            if (isStable) resets += 1
          }
        }
        machine.actor.stop()
        expect(wrong).toEqual([])
      }),
      { numRuns: 1_000 },
    )
    expect(resets).toBeGreaterThan(10)
  })

  test('I9: from wherever it is, a healthy network leads to open in a bounded number of steps', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 40, size: 'max' }), (events) => {
        const machine = startMachine(POLICY)
        machine.send(...events)
        for (let steps = 0; machine.phase !== 'open' && steps < 6; steps += 1) {
          switch (machine.leaf) {
            case 'idle':
              machine.send(connect)
              break
            case 'connecting':
              machine.send(opened)
              break
            case 'awaitingWelcome':
              machine.send(welcome(CURSORS, MARKER))
              break
            case 'posting':
              machine.send(succeeded())
              break
            case 'confirming':
              machine.send(succeeded())
              break
            case 'replaying':
              machine.send(replayed(machine.context.resumeId))
              break
            case 'backoff':
              machine.clock.advance(machine.context.delay)
          }
        }
        expect(machine.phase).toBe('open')
        machine.actor.stop()
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('an actor that throws', () => {
  /** As XState tells it. */
  const threw = (id: string) => ({ type: `xstate.error.actor.${id}`, error: new Error('boom') }) as never

  test.each<[string, readonly ConnectionEvent[], string]>([
    ['eventStream', [connect], 'backoff'],
    ['eventStream', OPEN, 'backoff'],
    ['resume', POSTING, 'backoff'],
    ['outbox', OPEN, 'idle'],
    ['probe', [connect, welcome([], ['probe']), wake()], 'connecting'],
    ['pageLifecycle', OPEN, 'steady'],
  ])('%s ends in no broken machine, and leaves its error', (id, path, to) => {
    const { leaf, next } = step(walk(path), threw(id))
    expect(leaf).toBe(to)
    expect(next.status).toBe('active')
    expect(next.context.lastError).toMatchObject({
      code: 'internal',
      retryable: true,
      cause: expect.objectContaining({ message: 'boom' }),
    })
  })

  test('C14: a poster that throws stops the line aloud', () => {
    const { emitted } = step(walk(OPEN_WITH_MARKER), threw('outbox'))
    expect(emitted.at(-1)).toMatchObject({ type: 'stopped', error: { code: 'internal' } })
  })

  test.each(['eventStream', 'outbox'])('%s closes the line as failed', (id) => {
    const [closed] = step(walk(OPEN), threw(id)).emitted
    expect(closed).toMatchObject({ type: 'closed', reason: 'failed', error: { code: 'internal' } })
  })
})
