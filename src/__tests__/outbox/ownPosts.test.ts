import { describe, expect, test } from 'vitest'
import { toHttpError } from '../../adapters/httpError'
import { ConnectionError } from '../../errors'
import type { UpstreamEvent } from '../../machine/types'
import { OwnPosts } from '../../outbox/ownPosts'
import { settle } from '../support/fakes'
import { createCarrier, createSettings, gateOf } from '../support/outboxParts'

const C1 = gateOf()
const C2 = gateOf({ connectionId: 'c2' })

function createOwnPosts(starting?: Parameters<typeof createCarrier>[0]) {
  const { carrier, posts } = createCarrier(starting)
  const facts: UpstreamEvent[] = []
  const errors: ConnectionError[] = []
  const taken: string[] = []
  const ended: object[] = []
  const missing = new Map<string, ConnectionError>()
  const own = new OwnPosts(createSettings().settings, carrier, {
    tellMachine: (fact) => void facts.push(fact),
    report: (error) => void errors.push(error),
    crash(cause) {
      throw cause
    },
    missing: (endpoint) => missing.get(endpoint),
    taken: (endpoint) => void taken.push(endpoint),
  })
  return {
    own,
    posts,
    facts,
    errors,
    taken,
    ended,
    missing,
    /** The POSTs so far. */
    sent: () => posts.map(({ body }) => `${body.type} ${body.sessionId}`),
    async post(sessionId: string, stream = 'c1', type: 'watch' | 'unwatch' = 'watch') {
      const fields = () => ({ sessionId })
      own.post({ type, sessionId, fields, settle: (end) => ended.push({ sessionId, ...end }) }, stream)
      await settle()
    },
  }
}

describe('a POST about a session', () => {
  test('that is answered 2xx is told with its receipt, and lets the next one go', async () => {
    const { own, post, posts, sent, ended, taken, errors } = createOwnPosts()
    own.start(C1)
    await post('s1')
    await post('s2')
    expect(sent()).toEqual(['watch s1'])
    await posts[0]?.answers({ ok: true })
    expect(sent()).toEqual(['watch s1', 'watch s2'])
    expect([ended, taken, errors]).toEqual([[{ sessionId: 's1', receipt: { ok: true } }], ['watch'], []])
  })

  test.each([
    ['is refused', toHttpError(403)],
    ['is refused for the state of the session', toHttpError(409)],
    ['is answered 500', toHttpError(500, 'internal')],
    ['is lost', new ConnectionError('network', 'lost')],
  ])('that %s is told and reported as its error, is not repeated, and lets the next one go', async (_, error) => {
    const { own, post, posts, sent, ended, taken, errors, facts } = createOwnPosts()
    own.start(C1)
    await post('s1')
    await post('s2')
    await posts[0]?.fails(error)
    expect(sent()).toEqual(['watch s1', 'watch s2'])
    expect([ended, errors, taken, facts]).toEqual([[{ sessionId: 's1', error }], [error], [], []])
  })

  test.each([
    [401, 'upstream.unauthorized'],
    [404, 'upstream.disowned'],
  ])('that is answered %i speaks of the line: the machine is told, and nothing else', async (status, type) => {
    const { own, post, posts, facts, ended, errors } = createOwnPosts()
    const error = toHttpError(status)
    own.start(C1)
    await post('s1')
    await posts[0]?.fails(error)
    expect([facts, ended, errors]).toEqual([[{ type, error }], [], []])
  })

  test('C62: whose endpoint is missing says so, and the line goes on', async () => {
    const { own, post, posts, missing, facts, ended, errors } = createOwnPosts()
    const error = new ConnectionError('unknown-endpoint', 'no watch')
    missing.set('watch', error)
    own.start(C1)
    await post('s1')
    await posts[0]?.fails(toHttpError(404))
    expect([facts, ended, errors]).toEqual([[], [{ sessionId: 's1', error }], [error]])
  })

  test.each([
    [['receipts'] as const, 'required'],
    [[], 'ifAnnounced'],
  ])('C27: has the time of a send, and a broken answer to it is none: with %j', async (features, receipt) => {
    const { own, post, posts } = createOwnPosts()
    own.start(gateOf({ features }))
    await post('s1')
    expect(posts[0]?.options).toMatchObject({ timeout: 15_000, receipt })
  })

  test('waits at most once', async () => {
    const { own, post, posts, sent } = createOwnPosts()
    own.start(C1)
    for (const sessionId of ['s1', 's2', 's2']) await post(sessionId)
    for (const index of [0, 1]) await posts[index]?.answers({})
    expect(sent()).toEqual(['watch s1', 'watch s2'])
  })
})

describe('C120: POSTs about a stream', () => {
  test('wait while the gate is closed', async () => {
    const { own, post, sent } = createOwnPosts()
    own.start(C1)
    own.hold()
    await post('s1')
    expect(sent()).toEqual([])
    own.start(C1)
    expect(sent()).toEqual(['watch s1'])
  })

  test('end with it, also where it only has another name: one under way is aborted, the others never leave', async () => {
    const { own, post, posts, sent, ended } = createOwnPosts()
    own.start(C1)
    await post('s1')
    await post('s2')
    await post('s3', 'c1', 'unwatch')
    own.start(C2)
    await settle()
    expect([posts[0]?.aborted, sent(), ended]).toEqual([true, ['watch s1'], []])
    await post('s4', 'c2')
    expect(sent()).toEqual(['watch s1', 'watch s4'])
  })

  test('I10 C55: whose headers come when the gate has closed do not leave, and wait again', async () => {
    const { own, post, posts, sent } = createOwnPosts('later')
    own.start(C1)
    await post('s1')
    own.hold()
    posts[0]?.starts()
    expect([posts[0]?.aborted, sent()]).toEqual([true, ['watch s1']])
    own.start(gateOf())
    await settle()
    posts[1]?.starts()
    expect([posts[1]?.aborted, sent()]).toEqual([false, ['watch s1', 'watch s1']])
  })

  test('I11: whose headers come when it has ended change nothing on the next one', async () => {
    const { own, post, posts, sent, ended } = createOwnPosts('later')
    own.start(C1)
    await post('s1')
    own.abort()
    own.start(C2)
    await post('s2', 'c2')
    posts[0]?.starts()
    await settle()
    posts[1]?.starts()
    await posts[1]?.answers({})
    expect([sent(), ended]).toEqual([['watch s1', 'watch s2'], [{ sessionId: 's2', receipt: {} }]])
  })
})
