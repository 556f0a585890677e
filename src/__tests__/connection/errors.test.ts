import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { ConnectionError } from 'holdline'
import { persist } from 'holdline/storage'
import ts from 'typescript'
import { expect, test } from 'vitest'
import { createWorld, SERVER_ACCEPTS, settle, type World } from '../support/fakes'
import { createStorage } from '../support/storage'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The arguments of each `new ConnectionError` and `missed` in the sources, and where they are. */
function* madeErrors(): Generator<readonly [place: string, args: readonly ts.Expression[]]> {
  for (const path of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    if (!path.endsWith('.ts') || path.startsWith('__tests__')) continue
    const file = ts.createSourceFile(path, readFileSync(root + path, 'utf8'), ts.ScriptTarget.Latest, true)
    const found: [string, readonly ts.Expression[]][] = []
    const visit = (node: ts.Node) => {
      const isMade = ts.isNewExpression(node) || ts.isCallExpression(node)
      if (isMade && /^(ConnectionError|missed)$/.test(node.expression.getText()))
        found.push([`${path}: ${node.getText()}`, node.arguments ?? []])
      ts.forEachChild(node, visit)
    }
    visit(file)
    yield* found
  }
}

test('every error is made with a message, and one that is written out is a sentence and no code', () => {
  const made = [...madeErrors()]
  expect(made.length).toBeGreaterThan(40)
  const faults = made.filter(([, [, message]]) => {
    if (!message || message.getText() === 'undefined') return true
    return ts.isStringLiteral(message) && !message.text.includes(' ')
  })
  expect(faults.map(([place]) => place)).toEqual([])
})

const cursors = [{ sessionId: 's1', lastSeq: 1 }]
const lastError = (world: World) => world.connection.lastError
const verdictOf = async (message: unknown, world = createWorld()) => {
  const verdict = await world.connection.send(message as never).settled
  return 'error' in verdict ? verdict.error : null
}
const connecting = (world = createWorld()) => {
  world.connection.connect()
  return world
}

test.each<[message: string, provoke: () => Promise<ConnectionError | null>]>([
  [
    'bad-welcome: not a welcome of protocol 2: {"type":"welcome","protocolVersion":1,"connectionId":"c1"}',
    async () => {
      const world = connecting()
      world.stream.welcomes({ protocolVersion: 1, connectionId: 'c1' })
      return lastError(world)
    },
  ],
  [
    'stream-silent: nothing came for 2000 ms: a dead line, or a proxy that buffers',
    async () => {
      const world = createWorld()
      await world.opens({ heartbeat: 1_000 })
      await world.clock.advance(2_250)
      return lastError(world)
    },
  ],
  [
    'goodbye: the server asked to come back later',
    async () => {
      const world = createWorld()
      await world.opens()
      world.stream.sends({ type: 'goodbye' })
      return lastError(world)
    },
  ],
  [
    'timeout: connect took longer than 15000 ms (timeouts.connect)',
    async () => {
      const world = connecting()
      await world.clock.advance(15_000)
      return lastError(world)
    },
  ],
  [
    'probe-timeout: the stream did not answer a probe',
    async () => {
      const world = createWorld()
      await world.opens({ features: ['probe'] })
      world.connection.wake()
      await world.clock.advance(2_000)
      return lastError(world)
    },
  ],
  [
    'gave-up: no attempts left (backoff.maxAttempts): the server answered 503',
    async () => {
      const world = connecting(createWorld({ backoff: { maxAttempts: 0 } }))
      world.stream.fails(503)
      return lastError(world)
    },
  ],
  [
    'hook-failed: headers threw, or gave no header map; see cause',
    async () => {
      const world = createWorld({ cursors, headers: () => Promise.reject(new Error('no token')) })
      await world.opens()
      return lastError(world)
    },
  ],
  ['invalid-message: the message is no object, or no JSON', () => verdictOf(7)],
  ['invalid-message: the message is no object, or no JSON', () => verdictOf({ type: 'send', n: 1n })],
  ['unknown-type: no endpoint for type rate', () => verdictOf({ type: 'rate' })],
  ['unknown-type: no endpoint for type undefined', () => verdictOf({})],
  [
    'outbox-full: over outbox.maxMessages or outbox.maxBytes',
    () => verdictOf({ type: 'send' }, createWorld({ outbox: { maxBytes: 1 } })),
  ],
  [
    'cancelled: by cancel(), clearOutbox(), dispose() or a stop',
    async () => {
      const { connection } = createWorld()
      const delivery = connection.send({ type: 'send' })
      delivery.cancel()
      const verdict = await delivery.settled
      return 'error' in verdict ? verdict.error : null
    },
  ],
  [
    'disposed: sent after dispose()',
    async () => {
      const world = createWorld()
      world.connection.dispose()
      return verdictOf({ type: 'send' }, world)
    },
  ],
  [
    'expired: older than maxAge',
    async () => {
      const world = createWorld()
      const { settled } = world.connection.send({ type: 'send' }, { maxAge: 1 })
      await world.clock.advance(1)
      await world.opens()
      const verdict = await settled
      return 'error' in verdict ? verdict.error : null
    },
  ],
  [
    'exhausted: 2 attempts failed, the last: POST send (application/json): the server answered 500: a bug',
    async () => {
      const world = createWorld({ outbox: { maxFailures: 1 } }, (post) =>
        post.body.prompt === 'bad' ? post.answers(500, { error: 'a bug' }) : SERVER_ACCEPTS(post),
      )
      await world.opens()
      const { settled } = world.connection.send({ type: 'send', sessionId: 's1', prompt: 'bad' })
      await settle()
      world.connection.send({ type: 'send', sessionId: 's2', prompt: 'good' })
      await world.clock.advance(60_000)
      const verdict = await settled
      return 'error' in verdict ? verdict.error : null
    },
  ],
  [
    'storage-corrupt: k:message:1: moved to k.corrupt',
    async () => {
      const storage = createStorage()
      storage.setItem('k:message:1', '{')
      const world = createWorld({ storage: persist(storage, { key: 'k' }) })
      let told: ConnectionError | null = null
      world.connection.on('error', ({ error }) => {
        told = error
      })
      await settle()
      return told
    },
  ],
])('an error says what was seen: %s', async (message, provoke) => {
  const error = await provoke()
  expect(`${error?.code}: ${error?.message}`).toBe(message)
})
