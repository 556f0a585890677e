import { FEATURES } from '../../protocol'
import type { ConnectionOptions, Verdict } from '../../types'
import { type ContractLine, createContractLine, type Serve } from './contractLine'

/** What a transport may be unable to tell. The table of docs/transports.md has a row for each. */
export type ContractPromise =
  /** The HTTP status with which a stream was refused, or a word for it. */
  | 'stream-status'
  /** How long a refused stream is to wait. */
  | 'stream-retry-after'
  /** That a POST is repeated with fresh headers after a 401. */
  | 'renewal-of-posts'
  /** That a comment on the stream is a sign of life. */
  | 'comments'
  /** That a line of the stream may end in CR, LF or CRLF. */
  | 'line-ends'
  /** That a stream can be over without an event; the host has to be able to `hush`. */
  | 'silent-ends'

/** One behaviour of design and protocol that has to hold over any transport. */
export interface ContractCase {
  readonly name: string
  /** What the transport must be able to tell. Default: nothing special. */
  readonly needs?: ContractPromise
  /** Rejects where the behaviour is missing. */
  run(serve: Serve): Promise<void>
}

/** Deep equality by JSON is enough for what is compared here. */
function expectEqual(actual: unknown, expected: unknown, what: string) {
  const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (found !== wanted) throw new Error(`${what}: ${found}, not ${wanted}`)
}
function expectTrue(holds: unknown, what: string) {
  if (!holds) throw new Error(what)
}

const behaviour = (
  name: string,
  use: (line: ContractLine) => Promise<void>,
  { needs, ...options }: Partial<ConnectionOptions> & { readonly needs?: ContractPromise } = {},
): ContractCase => ({
  name,
  ...(needs && { needs }),
  async run(serve) {
    const line = await createContractLine(serve, options)
    try {
      await use(line)
      expectEqual(line.surprises.map(String), [], 'errors inside the server')
      // The server may hear of the end of a stream after it heard of the next one.
      await line.until('I1: a single stream is left', () => line.streams <= 1)
      const early = line.requests.find(({ key, phase }) => key !== null && phase !== 'open')
      expectTrue(
        !early || early.phase === 'backoff' || early.phase === 'connecting' || early.phase === 'idle',
        'I3: a send arrived before the line was open',
      )
      const lifecycle = line.told.map(([event]) => event).filter((event) => event === 'opened' || event === 'closed')
      expectTrue(
        lifecycle.every((event, index) => event === (index % 2 ? 'closed' : 'opened')),
        `I7: ${lifecycle}`,
      )
    } finally {
      await line.close()
    }
  },
})

const range = (to: number, from = 1) => Array.from({ length: to - from + 1 }, (_, index) => from + index)
const json = (status: number, answer: object, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(answer), { status, headers: { 'content-type': 'application/json', ...headers } })
const publishes = async (line: ContractLine, count: number, sessionId = 's1') => {
  for (let n = 0; n < count; n++) await line.publish(sessionId)
}
const phases = (line: ContractLine) => line.told.flatMap(([name, event]) => (name === 'phase' ? [event.phase] : []))
const closings = (line: ContractLine) => line.told.flatMap(([name, event]) => (name === 'closed' ? [event.reason] : []))
const sessions = (line: ContractLine) => line.told.flatMap(([name, event]) => (name === 'session' ? [event] : []))
/** Once. */
const first = <Value>(value: Value, otherwise: Value) => {
  let isFirst = true
  return () => {
    const now = isFirst ? value : otherwise
    isFirst = false
    return now
  }
}

/**
 * The behaviours that a connection owes its app whatever carries it. For a runner of your choice:
 * `test.each(transportContract)('$name', ({ run }) => run(serve))`.
 */
export const transportContract: readonly ContractCase[] = [
  behaviour('connects in order, and opens once', async (line) => {
    line.connection.watch('s1')
    await line.opens()
    expectEqual(phases(line), ['connecting', 'awaitingWelcome', 'reconnecting', 'open'], 'phases')
    expectTrue(line.connection.connectionId, 'no connectionId')
  }),

  behaviour('C01 C02: nothing is posted before the resume has succeeded', async (line) => {
    line.connection.watch('s1')
    let release = () => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    line.intercepts(async (endpoint, next) => {
      if (endpoint === 'reconnect') await held
      return next()
    })
    const delivery = line.send('early')
    line.connection.connect()
    await line.until('the resume', () => line.requestsTo('reconnect').length === 1)
    line.says({ type: 'notice' })
    await line.until('a message meanwhile', () => line.messages.length === 1)
    expectEqual([line.connection.phase, line.requestsTo('send').length], ['reconnecting', 0], 'before the resume')
    release()
    expectEqual((await delivery.settled).status, 'accepted', 'after the resume')
  }),

  behaviour('I4: messages arrive in the order of send()', async (line) => {
    const deliveries = range(30).map((n) => line.send(`${n}`))
    await line.opens()
    deliveries.push(...range(60, 31).map((n) => line.send(`${n}`)))
    const verdicts = await Promise.all(deliveries.map(({ settled }) => settled))
    expectTrue(
      verdicts.every(({ status }) => status === 'accepted'),
      'not all were accepted',
    )
    expectEqual(line.prompts(), range(60).map(String), 'applied')
  }),

  behaviour('a verdict has the receipt, or says why', async (line) => {
    line.handles(({ message }) => (message.prompt === 'no' ? line.reject(422, 'not-this') : { of: message.prompt }))
    await line.opens()
    const [yes, no, after] = await Promise.all(['yes', 'no', 'after'].map((prompt) => line.send(prompt).settled))
    expectEqual(yes && 'receipt' in yes && yes.receipt, { of: 'yes' }, 'receipt')
    expectEqual(
      no && 'error' in no && [no.status, no.error.status, no.error.cause],
      ['rejected', 422, 'not-this'],
      'refusal',
    )
    expectEqual(after?.status, 'accepted', 'the one after it')
  }),

  behaviour('C58: a 403 rejects that message only', async (line) => {
    await line.opens()
    const refused = await line.connection.send({ type: 'send', sessionId: 'forbidden', prompt: 'x' }).settled
    expectEqual(errorOf(refused), ['rejected', 'forbidden'], 'verdict')
    expectEqual([(await line.send('next').settled).status, line.connection.phase], ['accepted', 'open'], 'after it')
  }),

  behaviour('C40: a 503 is repeated under the same id, not before the server said', async (line) => {
    const isFirst = first(true, false)
    let refusedAt = 0
    let repeatedAt = 0
    line.intercepts((endpoint, next) => {
      if (endpoint !== 'send') return next()
      if (!isFirst()) {
        repeatedAt = Date.now()
        return next()
      }
      refusedAt = Date.now()
      return json(503, { error: 'busy' }, { 'Retry-After': '2' })
    })
    await line.opens()
    const verdict = await line.send('again', 'the-id').settled
    expectEqual([verdict.status, verdict.attempts], ['accepted', 2], 'verdict')
    expectEqual(
      line.requestsTo('send').map(({ key }) => key),
      ['the-id', 'the-id'],
      'ids',
    )
    // Two seconds of the line's time.
    expectTrue(repeatedAt - refusedAt >= 150, `repeated after ${repeatedAt - refusedAt} ms`)
  }),

  behaviour('C28: an answer that is lost is asked for again, and the command applied once', async (line) => {
    const isFirst = first(true, false)
    line.intercepts(async (endpoint, next) => {
      const response = await next()
      if (endpoint === 'send' && isFirst()) line.cut()
      return response
    })
    await line.opens()
    const verdict = await line.send('once').settled
    expectEqual([verdict.status, line.prompts()], ['accepted', ['once']], 'verdict and applied')
    expectTrue(verdict.attempts >= 2, 'it was not repeated')
  }),

  behaviour('C63: a POST that is redirected was not answered, and opens nothing', async (line) => {
    let redirects: string | undefined = 'reconnect'
    line.intercepts((endpoint, next) => {
      if (endpoint === 'login') return json(200, { user: null })
      return endpoint === redirects ? new Response(null, { status: 302, headers: { Location: '/login' } }) : next()
    })
    line.connection.watch('s1')
    const delivery = line.send('kept')
    line.connection.connect()
    await line.until('told', () => line.connection.lastError?.code === 'redirected')
    expectEqual([phases(line).includes('open'), delivery.status], [false, 'queued'], 'after a resume')
    redirects = 'send'
    const isTold = () => line.told.some(([name, event]) => name === 'error' && event.error.code === 'redirected')
    await line.until('told of the message', isTold)
    redirects = undefined
    expectEqual([(await delivery.settled).status, line.prompts()], ['accepted', ['kept']], 'after the login')
  }),

  behaviour('C69: the names of media types are read in any case', async (line) => {
    const headers = { 'content-type': 'Application/JSON; Charset=UTF-8' }
    line.intercepts((endpoint, next) =>
      endpoint === 'send' ? new Response('{"error":"id-reused"}', { status: 409, headers }) : next(),
    )
    await line.opens()
    expectEqual(errorOf(await line.send('again').settled), ['rejected', 'id-reused'], 'verdict')
  }),

  behaviour('C57: a stream that the server does not know is replaced, and the message arrives', async (line) => {
    const isFirst = first(true, false)
    line.intercepts((endpoint, next) =>
      endpoint === 'send' && isFirst() ? json(404, { error: 'unknown-stream' }) : next(),
    )
    await line.opens()
    const before = line.connection.connectionId
    expectEqual((await line.send('anyway').settled).status, 'accepted', 'verdict')
    expectTrue(line.connection.connectionId !== before, 'the same stream')
    expectEqual(closings(line), ['disowned'], 'closed')
  }),

  behaviour(
    'C29: a 401 to a message asks the hook once more, then it is repeated',
    async (line) => {
      const isFirst = first(true, false)
      line.intercepts((endpoint, next) => (endpoint === 'send' && isFirst() ? json(401, {}) : next()))
      await line.opens()
      expectEqual((await line.send('renewed').settled).status, 'accepted', 'verdict')
    },
    { needs: 'renewal-of-posts', headers: () => ({ authorization: 'token' }) },
  ),

  behaviour('C31: a 401 that stays stops the line, and keeps what is queued', async (line) => {
    line.intercepts((endpoint, next) => (endpoint === 'send' ? json(401, {}) : next()))
    await line.opens()
    const delivery = line.send('kept')
    await line.until('idle', () => line.connection.phase === 'idle')
    expectEqual(
      [line.connection.lastError?.code, delivery.status, line.connection.pending.length],
      ['unauthorized', 'queued', 1],
      'stopped',
    )
    line.intercepts((_, next) => next())
    line.connection.connect()
    expectEqual((await delivery.settled).status, 'accepted', 'after another connect')
  }),

  behaviour(
    'C31: a stream that is refused with 401 stops the line',
    async (line) => {
      line.interceptsStreams(() => json(401, {}))
      line.connection.connect()
      await line.until('stopped', () => line.told.some(([name]) => name === 'stopped'))
      expectEqual([line.connection.phase, line.connection.lastError?.code], ['idle', 'unauthorized'], 'stopped')
    },
    { needs: 'stream-status' },
  ),

  ...(
    [
      ['204', 'ended', () => new Response(null, { status: 204 })],
      ['403 that says why', 'forbidden', () => json(403, { error: 'blocked' })],
      ['403 that says nothing, three times in a row', 'forbidden', () => new Response('<h1>no</h1>', { status: 403 })],
    ] as const
  ).map(([status, code, refuse]) =>
    behaviour(
      `C72: a stream that is refused with ${status} stops the line`,
      async (line) => {
        line.interceptsStreams(refuse)
        const delivery = line.send('kept')
        line.connection.connect()
        await line.until('stopped', () => line.told.some(([name]) => name === 'stopped'))
        expectEqual([line.connection.phase, line.connection.lastError?.code], ['idle', code], 'stopped')
        line.interceptsStreams((next) => next())
        line.connection.connect()
        expectEqual((await delivery.settled).status, 'accepted', 'after another connect')
      },
      { needs: 'stream-status' },
    ),
  ),

  behaviour('C72: a 403 that says nothing may pass', async (line) => {
    let refusals = 0
    line.interceptsStreams((next) => (refusals++ < 2 ? new Response('<h1>no</h1>', { status: 403 }) : next()))
    await line.opens()
    expectEqual(refusals >= 2, true, 'refused')
  }),

  behaviour('C69: the media type of a stream is read whatever its case', async (line) => {
    line.interceptsStreams(async (next) => {
      const { body, headers } = await next()
      const own = new Headers(headers)
      own.set('content-type', 'Text/Event-Stream; Charset=UTF-8')
      return new Response(body, { headers: own })
    })
    await line.opens()
    expectEqual(phases(line).includes('backoff'), false, 'backoff')
  }),

  behaviour(
    'C73: an event ends with its empty line, whatever that ends in, and not with the next byte',
    async (line) => {
      await line.opens()
      for (const [index, end] of ['\r', '\n', '\r\n'].entries()) {
        line.saysRaw(`data: {"type":"notice","index":${index}}${end}${end}`)
        await line.until(JSON.stringify(end), () => line.messages.length === index + 1)
      }
      // Half of a CRLF, and the other half.
      for (const part of ['data: {"type":"notice"}\r', '\n\r', '\ndata: {"type":"end"}\r', '\n\r']) line.saysRaw(part)
      await line.until('CRLF in halves', () => line.messages.length === 5)
      expectEqual(line.messages.slice(3), [{ type: 'notice' }, { type: 'end' }], 'messages')
    },
    { needs: 'line-ends' },
  ),

  behaviour(
    'C76: a stream that has ended without an event is noticed with the next message, and at a wake',
    async (line) => {
      await line.opens()
      line.hush()
      expectEqual((await line.send('noticed').settled).status, 'accepted', 'verdict')
      await line.until('open again', () => line.connection.isOpen)
      expectEqual(closings(line), ['failed'], 'closed')
      line.hush()
      line.connection.wake()
      await line.until('open once more', () => closings(line).length === 2 && line.connection.isOpen)
      expectEqual(closings(line), ['failed', 'failed'], 'closed')
    },
    { needs: 'silent-ends' },
  ),

  behaviour(
    'C40: a refused stream is not tried again before the server said',
    async (line) => {
      const isFirst = first(true, false)
      const opened: number[] = []
      line.interceptsStreams((next) => {
        opened.push(Date.now())
        return isFirst() ? json(503, {}, { 'Retry-After': '3' }) : next()
      })
      await line.opens()
      expectTrue((opened[1] ?? 0) - (opened[0] ?? 0) >= 250, `again after ${(opened[1] ?? 0) - (opened[0] ?? 0)} ms`)
    },
    { needs: 'stream-retry-after' },
  ),

  behaviour('C05 C11: a failed resume opens nothing; the next stream does, and the queue leaves then', async (line) => {
    const isFirst = first(true, false)
    line.intercepts((endpoint, next) => (endpoint === 'reconnect' && isFirst() ? json(500, {}) : next()))
    line.connection.watch('s1')
    const delivery = line.send('patient')
    await line.opens()
    expectEqual(phases(line).includes('backoff'), true, 'backoff')
    expectEqual([(await delivery.settled).attempts, line.prompts()], [1, ['patient']], 'sent once')
  }),

  behaviour('a resume that is forbidden as a whole is final', async (line) => {
    line.intercepts((endpoint, next) => (endpoint === 'reconnect' ? json(403, {}) : next()))
    line.connection.watch('s1')
    line.connection.connect()
    await line.until('stopped', () => line.told.some(([name]) => name === 'stopped'))
    expectEqual([line.connection.phase, line.connection.lastError?.code], ['idle', 'forbidden'], 'stopped')
  }),

  behaviour('one session that is forbidden does not harm the others', async (line) => {
    line.connection.watch('s1')
    line.connection.watch('forbidden')
    await line.opens()
    await publishes(line, 3)
    await line.until('the events', () => line.messages.length === 3)
    expectEqual(sessions(line).find(({ status }) => status === 'forbidden')?.sessionId, 'forbidden', 'told')
    expectEqual(
      line.connection.cursors.map(({ sessionId }) => sessionId),
      ['s1'],
      'tracked',
    )
  }),

  behaviour('I6 C10: cut at any moment, every event comes once and in order', async (line) => {
    line.connection.watch('s1')
    await line.opens()
    for (let round = 0; round < 5; round++) {
      await publishes(line, 40)
      line.cut()
      await publishes(line, 40)
      await line.until(`round ${round}`, () => line.seqs().length >= 80 * round + 40)
    }
    await line.until('the rest', () => line.seqs().length >= 400)
    expectEqual(line.seqs(), range(400), 'events')
  }),

  behaviour('C34: a hole is noticed and fetched; nothing is delivered over it', async (line) => {
    line.connection.watch('s1')
    await line.opens()
    await publishes(line, 2)
    const isFirst = first(true, false)
    line.drops((frame) => /"seq":3\b/.test(frame) && isFirst())
    await publishes(line, 4)
    await line.until('all', () => line.seqs().length === 6)
    expectEqual([line.seqs(), closings(line)], [range(6), ['gap']], 'events')
  }),

  behaviour('a cursor that the server never gave is reset, and told', async (line) => {
    await publishes(line, 3)
    line.connection.watch('s1', { after: 99 })
    await line.opens()
    await line.until('told', () => sessions(line).length > 0)
    const [{ status, to } = { status: '', to: -1 }] = sessions(line)
    expectEqual([status, to], ['reset', 3], 'reset')
    await publishes(line, 1)
    await line.until('the next event', () => line.seqs().length === 1)
    expectEqual(line.seqs(), [4], 'events')
  }),

  behaviour("`after: 'head'` follows from now on, and tells of no reset", async (line) => {
    await publishes(line, 3)
    await publishes(line, 3, 'other')
    line.connection.watch('s1', { after: 'head' })
    await line.opens()
    line.connection.watch('other', { after: 'head' })
    for (const name of ['s1', 'other'])
      await line.until(`the head of ${name}`, () => line.connection.cursor(name)?.lastSeq === 3)
    await publishes(line, 1)
    await publishes(line, 1, 'other')
    await line.until('the next events', () => line.messages.length === 2)
    expectEqual([line.seqs(), line.seqs('other'), sessions(line)], [[4], [4], []], 'events, and news of sessions')
  }),

  behaviour('C35: what comes twice is delivered once', async (line) => {
    line.connection.watch('s1')
    await line.opens()
    await publishes(line, 2)
    await line.until('both', () => line.seqs().length === 2)
    line.says({ type: 'token', sessionId: 's1', seq: 2 })
    line.says({ type: 'notice' })
    await line.until('what is behind it', () => line.messages.length === 3)
    expectEqual(line.seqs(), [1, 2], 'events')
  }),

  behaviour('C19: a session that is watched on an open line is replayed, and the line stays open', async (line) => {
    await publishes(line, 5, 'late')
    await line.opens()
    line.connection.watch('late')
    await line.until('the replay', () => line.seqs('late').length === 5)
    expectEqual([line.seqs('late'), closings(line)], [range(5), []], 'events')
    line.connection.unwatch('late')
    await line.until('the unwatch', () => line.requestsTo('unwatch').length === 1)
    await publishes(line, 1, 'late')
    line.says({ type: 'notice' })
    await line.until('what is behind it', () => line.messages.some(({ type }) => type === 'notice'))
    expectEqual(line.seqs('late'), range(5), 'after it is not followed any more')
  }),

  behaviour('C04: a second welcome resumes anew, and opens once more', async (line) => {
    line.connection.watch('s1')
    await line.opens()
    const connectionId = line.connection.connectionId
    line.says({ type: 'welcome', protocolVersion: 2, connectionId, heartbeat: 15_000, features: FEATURES }, 'welcome')
    await line.until('again', () => line.told.filter(([name]) => name === 'opened').length === 2)
    expectEqual([closings(line), line.requestsTo('reconnect').length], [['welcome'], 2], 'resumed')
    await publishes(line, 2)
    await line.until('events', () => line.seqs().length === 2)
  }),

  behaviour('C22 C23: a stream that says nothing is given up', async (line) => {
    await line.opens()
    line.drops(() => true)
    await line.until('silence', () => closings(line).includes('silent'))
    line.drops(() => false)
    await line.until('open again', () => line.connection.isOpen)
  }),

  behaviour(
    'a comment is a sign of life',
    async (line) => {
      await line.opens()
      line.drops(() => true)
      // Two and a half heartbeats of the line's time; two are the limit.
      const start = Date.now()
      while (Date.now() - start < 4_500) {
        line.saysRaw(': still here\n\n')
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      expectEqual(closings(line), [], 'closed')
    },
    { needs: 'comments' },
  ),

  behaviour('goodbye is obeyed: the line comes back, not before the server said', async (line) => {
    await line.opens()
    const start = Date.now()
    line.says({ type: 'goodbye', retryAfter: 3_000, spread: 100 })
    await line.until('closed', () => closings(line).includes('goodbye'))
    await line.until('open again', () => line.connection.isOpen)
    expectTrue(Date.now() - start >= 250, `back after ${Date.now() - start} ms`)
  }),

  behaviour('C22: after a wake the stream has to prove itself', async (line) => {
    await line.opens()
    line.connection.wake()
    await line.until('the probe', () => line.requestsTo('probe').length === 1)
    await line.until('steady', () =>
      line.connection.actor.getSnapshot().matches({ active: { streaming: { open: 'steady' } } } as never),
    )
    expectEqual(closings(line), [], 'closed')
    line.drops((frame) => frame.includes('"probe"'))
    line.connection.wake()
    await line.until('given up', () => closings(line).includes('probe-timeout'))
  }),

  behaviour('C71: a server that keeps the sessions at a suspend goes on, and nothing is resumed', async (line) => {
    line.connection.watch('s1')
    await line.opens()
    line.connection.suspend()
    await line.until('the suspend', () => line.requestsTo('suspend').length === 1)
    await publishes(line, 2)
    await line.until('events', () => line.seqs().length === 2)
    expectEqual((await line.send('hidden').settled).status, 'accepted', 'the message')
    line.connection.wake()
    await line.until('the probe', () => line.requestsTo('probe').length === 1)
    expectEqual([closings(line), line.requestsTo('reconnect').length], [[], 1], 'closed, and resumed')
  }),

  behaviour('C71: after a suspend that detached, a wake resumes the stream, and nothing is lost', async (line) => {
    line.detaches()
    line.connection.watch('s1')
    await line.opens()
    await publishes(line, 1)
    await line.until('an event', () => line.seqs().length === 1)
    const { connectionId } = line.connection
    let answered = false
    line.intercepts(async (endpoint, next) => {
      const answer = await next()
      answered ||= endpoint === 'suspend'
      return answer
    })
    line.connection.suspend()
    await line.until('the suspend', () => answered)
    await publishes(line, 3)
    expectEqual([line.connection.isOpen, closings(line), line.seqs()], [true, [], [1]], 'suspended')
    line.connection.wake()
    await line.until('the events', () => line.seqs().length === 4)
    await line.until('open', () => line.connection.isOpen)
    expectEqual(line.seqs(), range(4), 'events')
    expectEqual([closings(line), line.connection.connectionId], [['wake'], connectionId], 'the same stream')
    expectEqual((await line.send('back').settled).status, 'accepted', 'the message')
  }),

  behaviour('C71 I14: a message that is sent on a suspended stream leaves after a resume of it', async (line) => {
    line.detaches()
    line.connection.watch('s1')
    await line.opens()
    line.connection.suspend()
    await line.until('the suspend', () => line.requestsTo('suspend').length === 1)
    await publishes(line, 1)
    expectEqual((await line.send('hidden').settled).status, 'accepted', 'the message')
    await line.until('the event', () => line.seqs().length === 1)
    const order = line.requests.map(({ endpoint }) => endpoint)
    expectEqual(order, ['reconnect', 'suspend', 'reconnect', 'send'], 'requests')
  }),

  behaviour('C03 C41: disconnect ends it all; what is queued leaves after the next connect', async (line) => {
    let release = () => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    const isFirst = first(true, false)
    line.intercepts(async (endpoint, next) => {
      if (endpoint === 'send' && isFirst()) await held
      return next()
    })
    await line.opens()
    const delivery = line.send('kept')
    await line.until('under way', () => line.requestsTo('send').length === 1)
    line.connection.disconnect()
    release()
    expectEqual([line.connection.phase, delivery.status], ['idle', 'queued'], 'idle')
    line.connection.connect()
    expectEqual([(await delivery.settled).status, line.prompts()], ['accepted', ['kept']], 'applied once')
  }),

  behaviour('what is no message is reported and dropped, and the line goes on', async (line) => {
    await line.opens()
    line.saysRaw('data: {"type":\n\ndata: [1]\n\n')
    line.says({ type: 'notice' })
    await line.until('the next message', () => line.messages.length === 1)
    const codes = line.told.flatMap(([name, event]) => (name === 'error' ? [event.error.code] : []))
    expectEqual([codes, line.connection.phase], [['bad-message', 'bad-message'], 'open'], 'reported')
  }),

  behaviour('any text goes up and comes down as it is, a large one too', async (line) => {
    line.handles(({ message }) => ({ echo: message.prompt }))
    line.connection.watch('s1')
    await line.opens()
    for (const text of ['', 'a\nb\r\nc\u2028d\u0000', 'grüße 👩‍👩‍👧 \ud800', 'x'.repeat(200_000)]) {
      const verdict = await line.send(text).settled
      expectTrue(
        'receipt' in verdict &&
          JSON.stringify(verdict.receipt) === JSON.stringify({ echo: JSON.parse(JSON.stringify(text)) }),
        `up: ${text.slice(0, 20)}`,
      )
      await line.publish('s1', { type: 'token', text })
      const wanted = line.applied.length
      await line.until('down', () => line.messages.length === wanted)
      expectEqual(line.messages.at(-1)?.text, text, 'down')
    }
  }),
]

const errorOf = (verdict: Verdict) => [verdict.status, 'error' in verdict && verdict.error.code]
