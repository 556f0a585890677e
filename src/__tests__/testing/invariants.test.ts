import { type Connection, createConnection, type Delivery, type OutboundMessage } from 'holdline'
import type { EventSourceLike } from 'holdline/adapters'
import {
  answersAreLost,
  answersLate,
  answersWithHtml,
  type Behaviour,
  createHarness,
  type Environment,
  forgetsStreams,
  type HarnessOptions,
  type Invariant,
  replay,
  resumeFails,
  resumeNeverAnswered,
  saysGoodbye,
  sendFails,
  sendsAreLost,
  serverIsSilent,
  streamDropsAfter,
  streamFails,
  streamNeverOpens,
  watchInvariants,
  welcomeNeverComes,
  welcomesTwice,
} from 'holdline/testing'
import { describe, expect, test } from 'vitest'

const PROMPT = { type: 'send', prompt: 'hi' } as const
type Create = (environment: Environment) => Connection
type World = ReturnType<typeof begin>

/** A connection in the hands of the test, from which nothing is hidden. */
function begin(create: Create = createConnection, options: HarnessOptions = { server: serverIsSilent() }) {
  const harness = createHarness({ ...options, create })
  const oracle = watchInvariants(harness)
  return {
    harness,
    oracle,
    connection: harness.connection,
    settles: harness.settles,
    passes: harness.passes,
    streams: harness.streams,
    post: harness.post,
    async connects() {
      harness.connection.connect()
      await harness.settles()
    },
    async welcomes(frame?: object) {
      harness.stream.welcomes({ connectionId: `c${harness.streams.length}`, ...frame })
      await harness.settles()
    },
    async fails() {
      harness.stream.fails()
      await harness.settles()
    },
    async sends() {
      const delivery = harness.connection.send(PROMPT)
      await harness.settles()
      return delivery
    },
    async answers(endpoint: string, status: number, headers?: Readonly<Record<string, string>>) {
      harness.post(endpoint).answers(status, {}, headers)
      await harness.settles()
    },
    sees(invariant: Invariant, what: string) {
      const seen = oracle.violations.map(({ invariant, message }) => `${invariant}: ${message}`)
      expect(seen).toContain(`${invariant}: ${what}`)
      expect(() => oracle.check()).toThrow(`${invariant} (`)
    },
  }
}

// The real connection, in a world that does something else than it was asked for.

type Fetch = Environment['fetch']
const withFetch =
  (change: (fetch: Fetch) => Fetch): Create =>
  (environment) =>
    createConnection({ ...environment, fetch: change(environment.fetch) })
const isTo = (endpoint: string, url: unknown) => String(url).endsWith(`/${endpoint}`)

const withStreams =
  (change: (source: EventSourceLike, connection: () => Connection) => Partial<EventSourceLike>): Create =>
  (environment) => {
    const connection: Connection = createConnection({
      ...environment,
      createEventSource(...args) {
        const source = environment.createEventSource(...args) as EventSourceLike
        return { ...source, ...change(source, () => connection) }
      },
    })
    return connection
  }

const tells =
  (name: string, change: (event: unknown) => readonly unknown[]): Create =>
  (environment) => {
    const connection = createConnection(environment)
    const { on } = connection
    return Object.assign(connection, {
      on: (told: never, listener: (event: unknown) => void) =>
        on(told, (event: unknown) => {
          for (const each of told === name ? change(event) : [event]) listener(each)
        }),
    })
  }

const shows =
  (properties: PropertyDescriptorMap): Create =>
  (environment) =>
    Object.defineProperties(createConnection(environment), properties)

const STREAMS_STAY = withStreams(() => ({ close() {} }))
const REQUESTS_STAY = withFetch((fetch) => (url, init) => fetch(url, { ...init, signal: null }))
const TIME_FLIES: Create = (environment) => {
  const { now, setTimeout, clearTimeout } = environment.clock
  const began = now()
  return createConnection({
    ...environment,
    clock: {
      now: () => began + 10 * (now() - began),
      setTimeout: (callback, ms) => setTimeout(callback, ms / 10),
      clearTimeout,
    },
  })
}

describe('I1: a stream', () => {
  test('that is not closed is seen beside the next one, and where there is to be none', async () => {
    const world = begin(STREAMS_STAY)
    await world.connects()
    world.connection.reconnect()
    world.sees('I1', 'a stream begins beside a live one')
    await world.fails()
    world.sees('I1', '2 live in backoff')
  })
})

describe('I2: a resume', () => {
  const resumes = async (create: Create) => {
    const world = begin(create)
    world.connection.watch('s1')
    await world.connects()
    await world.welcomes()
    return world
  }

  test('that is not aborted is seen beside the next one, and outside reconnecting', async () => {
    const world = await resumes(REQUESTS_STAY)
    await world.welcomes()
    world.sees('I2', 'a resume beside another')
    await world.fails()
    world.sees('I2', 'one in backoff')
  })

  test('that names another stream is seen', async () => {
    const world = await resumes(
      withFetch((fetch) => (url, init) => {
        const headers = new Headers(init?.headers)
        headers.set('X-Connection-ID', 'another')
        return fetch(url, { ...init, headers })
      }),
    )
    world.sees('I2', 'a resume for another, it is c1')
  })

  test('that starts too late is seen', async () => {
    let go = () => {}
    const gate = new Promise<void>((resolve) => {
      go = resolve
    })
    const world = await resumes(withFetch((fetch) => (url, init) => gate.then(() => fetch(url, init))))
    await world.fails()
    go()
    await world.settles()
    world.sees('I2', 'a resume starts in backoff')
  })
})

test('I3: a POST that leaves after the line has closed is seen', async () => {
  let go = () => {}
  const gate = new Promise<void>((resolve) => {
    go = resolve
  })
  const world = begin(withFetch((fetch) => (url, init) => gate.then(() => fetch(url, init))))
  await world.connects()
  await world.welcomes()
  await world.sends()
  await world.fails()
  go()
  await world.settles()
  world.sees('I3', 'send is posted in backoff')
})

test('I4: a message that overtakes another is seen', async () => {
  const world = begin((environment) => {
    const connection = createConnection(environment)
    const { send } = connection
    const first: Delivery = {
      ...{ id: 'm1', message: PROMPT, status: 'queued', settled: new Promise(() => {}) },
      ...{ attempts: 0, error: null, retryAt: null, cancel: () => false },
    }
    let isFirst = true
    return Object.assign(connection, {
      send(...args: Parameters<typeof send>) {
        if (!isFirst) return send(...args)
        isFirst = false
        return first
      },
    })
  })
  await world.connects()
  await world.sends()
  const { id } = await world.sends()
  await world.welcomes()
  world.sees('I4', `${id} is posted before m1`)
})

test('I4: two POSTs of a lane that are under way at the same time are seen', async () => {
  let lanes = 0
  const world = begin((environment) => {
    const connection = createConnection(environment)
    const { send } = connection
    // The app takes both for one lane.
    return Object.assign(connection, { send: (message: never) => send(message, { lane: `${++lanes}` }) })
  })
  await world.connects()
  await world.welcomes()
  const first = await world.sends()
  const second = await world.sends()
  world.sees('I4', `${second.id} is posted beside ${first.id}, of the same lane`)
})

test('I10: a session that is untracked while one watch of it stands is seen', async () => {
  const world = begin((environment) => {
    const connection = createConnection(environment)
    const { watch, unwatch } = connection
    const forgets = (sessionId: string) => {
      watch(sessionId)
      return () => unwatch(sessionId)
    }
    return Object.assign(connection, { watch: forgets as typeof watch })
  })
  const release = world.connection.watch('s1')
  world.connection.watch('s1')
  await world.settles()
  world.oracle.check()
  release()
  await world.settles()
  world.sees('I10', 's1 is watched, and not tracked')
})

describe('I5: a verdict', () => {
  const isSent = async (create: Create) => {
    const world = begin(create)
    await world.connects()
    await world.welcomes()
    const { id } = await world.sends()
    return { ...world, id }
  }

  test('of success that nobody gave is seen', async () => {
    const world = await isSent(
      withFetch((fetch) => async (url, init) => ({ ...(await fetch(url, init)), ok: true, status: 200 }) as Response),
    )
    await world.answers('send', 403)
    world.sees('I5', `${world.id} is accepted, and no 2xx said so`)
  })

  test('that is told twice, or not at all, is seen', async () => {
    const twice = await isSent(tells('delivery', (event) => [event, event]))
    await twice.answers('send', 200)
    twice.sees('I5', `${twice.id} is told accepted after accepted`)

    const none = await isSent(tells('delivery', () => []))
    await none.answers('send', 200)
    none.sees('I5', `${none.id} is accepted, its verdict accepted, and undefined was told`)
  })

  test('that is missing for what is not pending any more is seen', async () => {
    const world = await isSent(shows({ pending: { get: () => [] } }))
    world.sees('I5', `${world.id} is sending, and pending 0 times`)
  })

  test('that is waited for although nothing is under way is seen', async () => {
    const world = await isSent(withFetch(() => () => new Promise(() => {})))
    world.sees('I5', `${world.id} is sending; under way: false`)
  })
})

describe('I6: an event', () => {
  test('that comes twice is seen', async () => {
    const world = begin((environment) => createConnection({ ...environment, dedupe: false }))
    await world.connects()
    await world.welcomes()
    for (const seq of [1, 2, 2]) world.harness.stream.sends({ type: 'token', sessionId: 's1', seq })
    world.sees('I6', 's1 2 comes after 2')
  })

  test('that the cursor is ahead of is seen', async () => {
    const world = begin(shows({ cursor: { value: () => ({ sessionId: 's1', lastSeq: 1 }) } }))
    await world.connects()
    await world.welcomes()
    world.harness.stream.sends({ type: 'token', sessionId: 's1', seq: 1 })
    world.sees('I6', 'the cursor of s1 is at 1 before the app has had 1')
  })

  test('that the app asked for again, or that begins anew after a reset, is none', async () => {
    const world = begin()
    const { connection, harness, oracle } = world
    await world.connects()
    await world.welcomes()
    const has = (seq: number, epoch: string) => harness.stream.sends({ type: 'token', sessionId: 's1', seq, epoch })
    for (const seq of [1, 2]) has(seq, 'a')
    connection.unwatch('s1')
    const unwatch = connection.watch('s1', { after: 0 })
    for (const seq of [1, 2]) has(seq, 'a')
    unwatch()
    connection.watch('s1')
    has(1, 'a')
    has(1, 'b')
    connection.watch('s1', { after: { sessionId: 's1', lastSeq: 0, epoch: 'b' } })
    await world.settles()
    expect(harness.messages).toHaveLength(6)
    oracle.check()
  })
})

test('I7: opened and closed that do not alternate, or belie the phase, are seen', async () => {
  const twice = begin(tells('opened', (event) => [event, event]))
  await twice.connects()
  await twice.welcomes()
  twice.sees('I7', 'opened twice in a row')

  const none = begin(tells('closed', () => []))
  await none.connects()
  await none.welcomes()
  await none.fails()
  none.sees('I7', 'opened was told last, in backoff')
})

describe('I8: in idle', () => {
  const rests = async (create: Create) => {
    const world = begin(create)
    await world.connects()
    await world.welcomes()
    await world.sends()
    world.connection.disconnect()
    await world.settles()
    return world
  }

  test('a timer is seen', async () => {
    const world = await rests((environment) => {
      const connection = createConnection(environment)
      connection.on('closed', () => environment.clock.setTimeout(() => {}, 1_000))
      return connection
    })
    world.sees('I8', '1 timers')
  })

  test('a request is seen, one of which half is answered too', async () => {
    const world = await rests(REQUESTS_STAY)
    world.sees('I8', 'send is under way')

    const half = begin(REQUESTS_STAY)
    await half.connects()
    await half.welcomes()
    await half.sends()
    half.post('send').answersHalf()
    half.connection.disconnect()
    await half.settles()
    half.sees('I8', 'send is under way')
  })

  test('a stream is seen', async () => {
    const world = await rests(STREAMS_STAY)
    world.sees('I8', 'a stream')
  })

  test('a page listener is seen', async () => {
    const world = await rests((environment) =>
      createConnection({
        ...environment,
        pageLifecycle: {
          subscribe(listener) {
            if (environment.pageLifecycle) environment.pageLifecycle.subscribe(listener)
            return () => {}
          },
        },
      }),
    )
    world.sees('I8', '7 page listeners')
  })
})

describe('I10: a message', () => {
  const waits = withStreams(({ addEventListener }, connection) => ({
    addEventListener: (type, listener) =>
      addEventListener(type, (event) => {
        if (type !== 'message' || connection().phase === 'open') listener(event)
      }),
  }))

  test('that does not come through in reconnecting is seen', async () => {
    const world = begin(waits)
    world.connection.watch('s1')
    await world.connects()
    await world.welcomes()
    world.harness.stream.sends({ type: 'token', sessionId: 's1', seq: 1 })
    world.sees('I10', 'a message that was due did not reach the app in reconnecting')
  })

  test('that is behind a hole, behind the cursor, of a session that was left, or for the library, is not due', async () => {
    const world = begin(waits)
    const { connection, harness, oracle } = world
    connection.watch('s1', { after: 2 })
    await world.connects()
    connection.watch('s2')
    connection.unwatch('s2')
    await world.welcomes({ features: ['contiguous-seq'] })
    harness.stream.sends({ type: 'token', sessionId: 's1', seq: 2 })
    harness.stream.sends({ type: 'token', sessionId: 's1', seq: 4 })
    harness.stream.sends({ type: 'token', sessionId: 's2', seq: 1 })
    harness.stream.sends({ type: 'ping' })
    await world.settles()
    oracle.check()
  })

  test('that waits behind one that a listener threw at is not due', async () => {
    const world = begin()
    const { connection, harness, oracle } = world
    let chokes = true
    connection.on('message', () => {
      if (chokes) throw new Error('choked')
    })
    await world.connects()
    await world.welcomes()
    for (const seq of [1, 2, 1]) harness.stream.sends({ type: 'token', sessionId: 's1', seq })
    chokes = false
    await world.passes(100)
    expect(harness.messages).toHaveLength(2)
    oracle.check()
  })
})

describe('I11: a result that comes too late', () => {
  /** Takes what it hears for a reason to begin anew, whoever says it. */
  const jumps = ({ actor }: Connection) => actor.send({ type: 'reconnect' })

  test('is seen if it is of a stream', async () => {
    const world = begin(
      withStreams(({ addEventListener }, connection) => ({
        addEventListener: (type, listener) =>
          addEventListener(type, (event) => {
            listener(event)
            if (type === 'open') jumps(connection())
          }),
      })),
    )
    await world.connects()
    await world.fails()
    world.streams[0]?.opens()
    await world.settles()
    world.sees('I11', 'a late open of a stream changed something')
  })

  test('is seen if it is of a POST that was aborted', async () => {
    const create: Create = (environment) => {
      const connection: Connection = createConnection({
        ...environment,
        async fetch(url, init) {
          const response = await environment.fetch(url, init)
          if (isTo('reconnect', url)) jumps(connection)
          return response
        },
      })
      return connection
    }
    const world = begin(create, { server: serverIsSilent(), ignoresAbort: true })
    world.connection.watch('s1')
    await world.connects()
    await world.welcomes()
    await world.fails()
    await world.answers('reconnect', 200)
    world.sees('I11', 'a late 200 of reconnect changed something')
  })

  test('is seen if it speaks of an old stream; what was applied there is applied', async () => {
    const isPosted = async (create: Create) => {
      const world = begin(create)
      await world.connects()
      await world.welcomes()
      const delivery = await world.sends()
      await world.fails()
      return { ...world, delivery }
    }
    const accepted = await isPosted(createConnection)
    await accepted.answers('send', 200)
    expect(accepted.delivery.status).toBe('accepted')
    accepted.oracle.check()

    const create: Create = (environment) => {
      const connection: Connection = createConnection({
        ...environment,
        async fetch(url, init) {
          const response = await environment.fetch(url, init)
          if (response.status === 404) jumps(connection)
          return response
        },
      })
      return connection
    }
    const disowned = await isPosted(create)
    await disowned.answers('send', 404)
    disowned.sees('I11', 'a 404 that speaks of an old stream changed something')
  })

  test('is seen if it is the marker of an earlier resume', async () => {
    const world = begin(
      withStreams(({ addEventListener }) => ({
        addEventListener: (type, listener) =>
          addEventListener(type, ({ data, ...event }) =>
            listener({ ...event, data: String(data).replace('"resumeId":"r1"', '"resumeId":"r2"') }),
          ),
      })),
    )
    world.connection.watch('s1')
    await world.connects()
    for (let times = 0; times < 2; times++) await world.welcomes({ features: ['replay-marker'] })
    world.harness.stream.sends({ type: 'reconnected', resumeId: 'r1' })
    await world.settles()
    world.sees('I11', 'the marker of an earlier resume changed something')
  })

  test('is not blamed for what the app does in the same moment', async () => {
    const world = begin()
    await world.connects()
    await world.fails()
    world.streams[0]?.opens()
    world.connection.reconnect()
    await world.settles()
    world.oracle.check()
  })
})

describe('I12: an attempt', () => {
  test('that is made too early is seen', async () => {
    const world = begin(TIME_FLIES, { server: serverIsSilent(), random: () => 0.5 })
    await world.connects()
    await world.fails()
    await world.passes(1_000)
    world.sees('I12', 'a stream 225 ms too early')
  })

  test('after a goodbye, or a resume that was told to wait, is seen if it does not wait', async () => {
    for (const what of ['goodbye', 'resume']) {
      const world = begin(TIME_FLIES, { server: serverIsSilent(), random: () => 0.5 })
      world.connection.watch('s1')
      await world.connects()
      await world.welcomes()
      if (what === 'resume') await world.answers('reconnect', 503, { 'retry-after': '2' })
      else world.harness.stream.sends({ type: 'goodbye', retryAfter: 2_000 })
      await world.passes(1_000)
      world.sees('I12', 'a stream 2250 ms too early')
    }
  })

  test('that was not preceded by a failure is seen', async () => {
    const world = begin()
    await world.connects()
    await world.welcomes()
    world.connection.actor.send({ type: 'reconnect' })
    world.sees('I12', 'a stream that nobody asked for')
  })

  test('to post a message again is seen if it is made too early', async () => {
    const world = begin(TIME_FLIES, { server: serverIsSilent(), random: () => 0.5 })
    await world.connects()
    await world.welcomes()
    await world.sends()
    await world.answers('send', 500)
    await world.passes(25)
    world.sees('I12', 'a message is repeated 225 ms too early')
    await world.answers('send', 429, { 'retry-after': '2' })
    await world.passes(250)
    world.sees('I12', 'a message is repeated 2250 ms too early')
  })

  test('to post a message again that waits in a batch is seen if it is made too early', async () => {
    const world = begin(TIME_FLIES, { server: serverIsSilent(), random: () => 0.5 })
    const [first] = [world.connection.send(PROMPT), world.connection.send(PROMPT)]
    await world.connects()
    await world.welcomes({ features: ['batch'] })
    world.post('batch').answers(200, { results: [{ id: first?.id, status: 503, retryAfter: 2_000 }] })
    await world.passes(250)
    world.sees('I12', 'a message is repeated 2250 ms too early')
  })

  test('counts the failures until the line was open for long enough', async () => {
    const world = begin(TIME_FLIES, { server: serverIsSilent(), random: () => 0.5 })
    await world.connects()
    await world.fails()
    await world.passes(1_000)
    await world.fails()
    await world.passes(1_000)
    world.sees('I12', 'a stream 450 ms too early')
    await world.welcomes()
    await world.passes(5_000)
    await world.fails()
    const { length } = world.oracle.violations
    await world.passes(1_000)
    // The same as the first one, which is known.
    expect(world.oracle.violations).toHaveLength(length)
  })

  test('is not held against a line that was open for long enough before it was welcomed again', async () => {
    const world = begin(createConnection, { server: serverIsSilent(), random: () => 0.5 })
    await world.connects()
    await world.fails()
    await world.passes(250)
    await world.welcomes()
    await world.passes(5_000)
    await world.welcomes()
    await world.fails()
    await world.passes(250)
    expect(world.streams).toHaveLength(3)
    world.oracle.check()
  })

  test('may be made at once if the app or the page asks, if a probe fails, and after the first 404', async () => {
    const asks: ((world: World) => unknown)[] = [
      ({ connection }) => connection.reconnect(),
      ({ connection }) => connection.wake({ awayFor: 60_000 }),
      ({ harness: { page } }) => {
        page.leaves()
        page.returns()
      },
      async ({ harness: { time } }) => {
        time.jumps(60_000)
        await time.passes(0)
      },
      async (world) => {
        await world.sends()
        await world.answers('send', 404)
      },
    ]
    for (const ask of asks) {
      const world = begin()
      await world.connects()
      await world.welcomes()
      await ask(world)
      await world.settles()
      expect(world.streams).toHaveLength(2)
      world.oracle.check()
    }
    const world = begin()
    await world.connects()
    await world.welcomes({ features: ['probe'] })
    world.connection.wake()
    await world.passes(2_000)
    expect(world.streams).toHaveLength(2)
    world.oracle.check()
  })
})

describe('I13: a message that waits for nothing', () => {
  /** Nothing of the second session is ever posted. */
  const holding = (retryAt: number | null) => (environment: Environment) => {
    const connection = createConnection(environment)
    const { send } = connection
    return Object.assign(connection, {
      send: (message: OutboundMessage<'send'>, options?: object): Delivery =>
        message.sessionId === 's2'
          ? {
              ...{ id: 'held', message, status: 'queued', settled: new Promise(() => {}) },
              ...{ attempts: 0, error: null, retryAt, cancel: () => false },
            }
          : send(message, options),
    }) as Connection
  }
  const opens = async (options?: Parameters<typeof watchInvariants>[1], retryAt: number | null = null) => {
    const harness = createHarness({ server: serverIsSilent(), create: holding(retryAt) })
    const oracle = watchInvariants(harness, options)
    harness.connection.connect()
    await harness.settles()
    harness.stream.welcomes({ connectionId: 'c1' })
    harness.connection.send({ ...PROMPT, sessionId: 's1' })
    harness.connection.send({ ...PROMPT, sessionId: 's2' })
    await harness.settles()
    return oracle.violations.flatMap(({ invariant, message }) => (invariant === 'I13' ? message : []))
  }

  test('is seen, unless its headers may be on their way, or as many lanes post as may', async () => {
    expect(await opens({ isPreparing: () => false })).toEqual(['held waits, and is told for nothing'])
    expect(await opens()).toEqual([])
    expect(await opens({ isPreparing: () => false, maxInFlight: 1 })).toEqual([])
  })

  test('is seen as well if it says that it waits, and nothing of its lane has failed', async () => {
    const options = { isPreparing: () => false }
    expect(await opens(options, Number.POSITIVE_INFINITY)).toEqual(['held waits, and nothing of its lane has failed'])
    // It is over, and its timer has had no chance to fire yet.
    expect(await opens(options, 1)).toEqual([])
  })

  test('is none where its headers did not come in time: it waits for its next try', async () => {
    const path = ['connect', 'send', 'headers wait', 'stream welcomed', 'time passes', 'time passes']
    const world = await replay(path, { features: [] })
    const [waiting] = world.connection.pending
    expect(waiting).toMatchObject({ attempts: 0, error: { code: 'timeout' }, retryAt: expect.any(Number) })
    await world.heals()
    world.oracle.check()
  })
})

describe('I14: after a suspend', () => {
  /** Says it past the library. */
  const suspendsByHand: Create = (environment) => {
    const connection = createConnection(environment)
    const headers = () => ({ 'x-connection-id': String(connection.connectionId) })
    return Object.assign(connection, {
      suspend: () =>
        environment.fetch(`${environment.url}/suspend`, { method: 'POST', body: '{}', headers: headers() }),
    })
  }
  const suspended = async (features: readonly string[] = []) => {
    const world = begin(suspendsByHand)
    await world.connects()
    await world.welcomes({ features })
    world.connection.suspend()
    await world.settles()
    await world.sends()
    return world
  }

  test('a message that leaves before the stream has been resumed is seen', async () => {
    const world = await suspended()
    world.sees('I14', 'send is posted on c1, which is suspended')
    world.sees('I14', 'the outbox is flowing on c1, which is suspended')
  })

  test('any message may leave to a server that keeps the sessions, and on another stream', async () => {
    const kept = await suspended(['suspend-keeps'])
    kept.oracle.check()
    const world = begin(suspendsByHand)
    await world.connects()
    await world.welcomes()
    world.connection.suspend()
    world.connection.reconnect()
    await world.settles()
    await world.welcomes()
    await world.sends()
    world.oracle.check()
  })
})

describe('I15: a wait', () => {
  test('that the snapshot does not tell is seen', async () => {
    const world = begin((environment) => {
      const connection = createConnection(environment)
      const { getSnapshot } = connection
      return Object.assign(connection, {
        getSnapshot: () => ({ ...getSnapshot(), outbox: { state: 'pausing' as const, retryAt: null } }),
      })
    })
    await world.connects()
    world.sees('I15', 'pausing in connecting')
    await world.welcomes()
    world.sees('I15', 'pausing, and nothing waits')
    const { retryAt } = await world.sends().then(async (delivery) => {
      await world.answers('send', 503)
      return delivery
    })
    world.sees('I15', `the snapshot says null, the deliveries ${retryAt}`)
  })

  test('of its own that outlives its stream is seen; one that the server asked for may', async () => {
    const outlives = async (headers?: Readonly<Record<string, string>>) => {
      let retryAt: number | null = null
      const world = begin((environment) => {
        const connection = createConnection(environment)
        const { getSnapshot, send } = connection
        const lasting = (delivery: Delivery) =>
          Object.defineProperty(delivery, 'retryAt', { get: () => retryAt }) as Delivery
        Object.defineProperty(connection, 'pending', { get: () => deliveries })
        const deliveries: Delivery[] = []
        return Object.assign(connection, {
          getSnapshot: () => ({ ...getSnapshot(), outbox: { ...getSnapshot().outbox, retryAt } }),
          send(...args: Parameters<typeof send>) {
            const delivery = lasting(send(...args))
            deliveries.push(delivery)
            return delivery
          },
        })
      })
      await world.connects()
      await world.welcomes()
      await world.sends()
      await world.answers('send', 503, headers)
      retryAt = world.harness.time.clock.now() + 20_000
      await world.fails()
      await world.passes(1_000)
      await world.welcomes()
      return world.oracle.violations.flatMap(({ message }) => (message.includes('outlives') ? message : []))
    }
    expect(await outlives()).toEqual(['a wait of 19000 ms outlives its stream'])
    expect(await outlives({ 'retry-after': '60' })).toEqual([])
  })
})

test('a connection in a bad world breaks none of them', async () => {
  const always: readonly Behaviour[] = []
  const mishaps: readonly (() => readonly Behaviour[])[] = [
    () => always,
    () => [streamNeverOpens({ times: 1 }), streamFails({ times: 3 }), welcomeNeverComes({ times: 1 })],
    () => [welcomesTwice({ times: 4 }), streamDropsAfter(2, { times: 3 })],
    () => [resumeFails({ status: 503, times: 2, retryAfter: 3 }), resumeNeverAnswered({ times: 1 })],
    () => [sendFails({ status: 500, times: 3 }), answersAreLost({ times: 2 }), sendsAreLost({ times: 2 })],
    () => [sendFails({ status: 429, times: 2, retryAfter: 7 }), saysGoodbye({ retryAfter: 4_000 })],
    () => [forgetsStreams({ times: 3 }), answersWithHtml({ times: 2 })],
    () => [answersLate(1_500, { times: 4 }), streamDropsAfter(1, { times: 2 })],
  ]
  for (const [seed, mishap] of mishaps.entries()) {
    for (const features of [[], ['receipts', 'idempotency', 'contiguous-seq'], undefined] as const) {
      const { harness, oracle } = begin(createConnection, { server: mishap(), seed, ...(features && { features }) })
      const { connection, server } = harness
      connection.watch('s1')
      connection.connect()
      const deliveries = Array.from({ length: 4 }, () => connection.send(PROMPT))
      for (let round = 0; round < 20; round++) {
        if (round < 6) server.publish('s1', { type: 'token', round })
        if (round === 8) connection.wake()
        if (round === 10) harness.page.returns()
        await harness.passes(1_700)
      }
      await harness.passes(60_000)
      oracle.check()
      expect(deliveries.map(({ status }) => status)).toEqual(Array(4).fill('accepted'))
      connection.dispose()
      await harness.settles()
      oracle.check()
    }
  }
})
