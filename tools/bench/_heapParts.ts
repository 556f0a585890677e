import { createConnection } from 'holdline'
import { connectionMachine, outboxMachine } from 'holdline/machine'
import { createActor, type EventObject, fromCallback } from 'xstate'

// Where the bytes of a connection are, without a network: each line is one more thing that it
// holds.

const MANY = 2_000
const kept: unknown[] = []
const nothing = fromCallback<EventObject, undefined>(() => () => {})
const bare = connectionMachine.provide({
  actors: {
    pageLifecycle: nothing,
    outbox: outboxMachine.provide({ actors: { poster: fromCallback<EventObject>(() => () => {}) } }),
    eventStream: nothing,
    resume: fromCallback(() => () => {}),
    probe: fromCallback(() => () => {}),
  },
})
const input = {
  backoff: { base: 500, cap: 30_000, maxAttempts: Number.POSITIVE_INFINITY, stableDelay: 5_000 },
  timeouts: { connect: 15_000, welcome: 10_000, resume: 15_000, send: 15_000, probe: 2_000 },
  random: Math.random,
  now: Date.now,
}
const welcome = { connectionId: 'c1', heartbeat: 60_000, features: [], cursors: [] }
const frame = JSON.stringify({ type: 'welcome', protocolVersion: 2, connectionId: 'c1', heartbeat: 60_000 })
/** Timers are Node's, not ours; here nothing waits. */
const clock = { now: Date.now, setTimeout: () => 0, clearTimeout: () => {} }

function startMachine() {
  return createActor(bare, { input, clock }).start()
}

function openMachine() {
  const actor = startMachine()
  actor.send({ type: 'connect' })
  actor.send({ type: 'stream.opened' })
  actor.send({ type: 'stream.welcomed', ...welcome })
  return actor
}

function open(options: { pageLifecycle?: false } = {}) {
  const listeners: Record<string, (event: MessageEvent<string>) => void> = {}
  const source = {
    addEventListener(type: string, listener: (event: MessageEvent<string>) => void) {
      listeners[type] = listener
    },
    close() {},
  }
  const connection = createConnection({
    url: 'http://127.0.0.1/api',
    clock,
    createEventSource: () => source,
    ...options,
  })
  connection.connect()
  listeners.open?.({} as MessageEvent<string>)
  listeners.welcome?.({ data: frame } as MessageEvent<string>)
  if (!connection.isOpen) throw new Error(`not open but ${connection.phase}`)
  return [connection, source]
}

function bytesOf(make: () => unknown): number {
  const before = settle(300, make)
  return (settle(MANY, make) - before) / MANY
}

function settle(many: number, make: () => unknown): number {
  for (let made = 0; made < many; made++) kept.push(make())
  global.gc?.()
  global.gc?.()
  return process.memoryUsage().heapUsed
}

process.send?.(
  {
    'XState: the machine alone, idle': bytesOf(startMachine),
    'XState: the machine alone, open': bytesOf(openMachine),
    'a connection, idle': bytesOf(() => createConnection({ url: 'http://127.0.0.1/api', clock })),
    'a connection, open, pageLifecycle off': bytesOf(() => open({ pageLifecycle: false })),
    'a connection, open': bytesOf(() => open()),
    kept: kept.length,
  },
  () => process.exit(),
)
