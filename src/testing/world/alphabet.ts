import { createConnection } from '../../createConnection'
import { FEATURES, type Feature, type JsonObject, type SessionStatus, type SessionVerdict } from '../../protocol'
import type { Clock, Connection, ConnectionOptions, Delivery, OutboundMessage } from '../../types'
import { serverIsSilent } from '../harness/behaviours'
import { createHarness, type Environment, type Harness } from '../harness/harness'
import { isAsk, sessionsOf, type TestPost, type TestStream } from '../harness/network'
import { carried, type Oracle, watchInvariants } from '../oracle/invariants'

export interface WorldOptions {
  /** The connection under test. Default: `createConnection(environment)`. */
  readonly create?: (
    environment: Environment & Pick<ConnectionOptions, 'headers'>,
  ) => Connection<never, never> | Connection
  /** What the server announces. Default: all of them. */
  readonly features?: readonly Feature[]
  /** ms. Default: none announced. */
  readonly heartbeat?: number
  /** What an event of a session looks like, without `sessionId` and `seq`. Default `{ type: 'token' }`. */
  readonly event?: JsonObject
  /** What the app sends. Default: a `send`. */
  readonly message?: OutboundMessage
  /** How often what would let the states grow without end can happen. Default: 2 messages and 3 events. */
  readonly atMost?: { readonly messages?: number; readonly events?: number }
}

/** One thing that can happen to a connection: the app, the page, the server, the network or time does it. */
export interface Letter {
  /** Whether it can happen now. */
  isEnabled(world: World): boolean
  act(world: World): unknown
}
export type Alphabet = Readonly<Record<string, Letter>>

/** A stream, and what the server has done with it. */
export interface Line {
  readonly stream: TestStream
  isOpened: boolean
  welcomes: number
  /** Nothing comes down any more, and nobody says so. */
  isDead: boolean
  /** The last event of each attached session that was sent on it. */
  readonly sent: Map<string, number>
  /** Its sessions were detached at a suspend, and nothing has been resumed since. */
  isAsleep: boolean
  /** Oldest first. */
  readonly resumes: TestPost[]
}

export type World = ReturnType<typeof createWorld>

/** A healthy network is at its end long before that many timers have fired. */
const PATIENCE = 100

/**
 * A connection, and a server of which every single step is taken by a letter of the alphabet. Whatever was started stays open until one
 * ends it; what was aborted can still be answered.
 */
export function createWorld(options: WorldOptions = {}) {
  const { create = createConnection, features = FEATURES, heartbeat, event = { type: 'token' } } = options
  const { message = { type: 'send', prompt: 'hello' } } = options
  const atMost = { messages: 2, events: 3, ...options.atMost }
  /** When the timers of the connection are due, the wall-clock looks of the page lifecycle apart. */
  const timers = new Map<unknown, number>()
  const lines: Line[] = []
  const heads = new Map<string, number>()
  const marked = new Set<TestPost>()
  const proved = new Set<TestPost>()
  const half = new Set<TestPost>()
  /** What was said of the sessions of a resume that were lost. */
  const lost = new Map<TestPost, readonly SessionVerdict[]>()
  const deliveries: Delivery[] = []
  const lanes = new Map<string, string | undefined>()
  /** Too old before they were posted: with `outbox.maxAge` that is an end like another. */
  const expired = new Set<Delivery>()
  const wanting: (() => void)[] = []
  /** Sessions that the app has left. */
  const left = new Set<string>()
  /** How often the app will throw at a message. */
  let throwsLeft = 0
  let thrownAt: JsonObject | undefined
  let isSlow = false
  /** 401s since the last 2xx. */
  let refusals = 0
  let lastSign = 0
  let hiddenSince = 0
  /** The cursor at which a hole was seen last. */
  let holeAt = -1

  const harness: Harness = createHarness({
    server: serverIsSilent(),
    // Full jitter with a constant: states that differ in nothing but luck are one.
    random: () => 0.5,
    ignoresAbort: true,
    create: (environment) =>
      create({
        ...environment,
        clock: overlooked(environment.clock, timers),
        headers: () => (isSlow ? new Promise((resolve) => wanting.push(() => resolve({}))) : {}),
      }),
  })
  const oracle: Oracle = watchInvariants(harness, { isPreparing: () => wanting.length > 0 })
  const { connection, posts, time, messages, told } = harness
  const { now } = time.clock

  connection.on('message', (given) => {
    if (throwsLeft > 0) {
      throwsLeft--
      thrownAt = given
      throw new Error(ON_PURPOSE)
    }
    if (given === thrownAt) oracle.report('I6', 'a message that was thrown at thrice is offered again')
  })
  connection.on('error', ({ error }) => {
    if (error.code === 'listener-failed' && Object(error.cause).message !== ON_PURPOSE)
      oracle.report('app', `${error.message}: ${error.cause}`)
  })
  harness.observe({
    onStream: (stream) =>
      void lines.push({
        stream,
        isOpened: false,
        welcomes: 0,
        isDead: false,
        sent: new Map(),
        isAsleep: false,
        resumes: [],
      }),
    onPost(post) {
      const line = live()
      if (!line || post.connectionId !== line.stream.connectionId) return
      if (isResume(post)) {
        line.resumes.push(post)
        line.isAsleep = false
      }
      if (post.endpoint === 'reconnect' || post.endpoint === 'watch') {
        for (const { sessionId, lastSeq } of sessionsOf(post)) line.sent.set(sessionId, lastSeq)
      } else if (post.endpoint === 'unwatch') line.sent.delete(String(post.body.sessionId))
    },
    onFrame(stream) {
      if (stream === live()?.stream) lastSign = now()
    },
    onAnswer(_, { status }) {
      if (status === 401) refusals++
      else if (status >= 200 && status < 300) refusals = 0
    },
  })

  /** The stream that the connection takes for a live one. */
  function live(): Line | undefined {
    const line = lines.at(-1)
    return line?.stream.isClosed ? undefined : line
  }
  /** What something can be sent on. */
  function flowing(): Line | undefined {
    const line = live()
    return line?.isDead ? undefined : line
  }
  const liveId = () => live()?.stream.connectionId ?? null
  const head = (sessionId: string) => heads.get(sessionId) ?? 0

  const isOpen = (post: TestPost) => !post.isAborted && !post.isAnswered && !half.has(post)
  const isCurrent = (post: TestPost) => !post.isAborted && post.connectionId === liveId() && liveId() !== null
  const pending = (is: (post: TestPost) => boolean) => posts.find((post) => is(post) && isOpen(post))

  function opens(line: Line) {
    line.isOpened = true
    line.stream.opens()
  }

  function welcomes(line: Line) {
    line.welcomes++
    line.sent.clear()
    const connectionId = `c${lines.length}.${line.welcomes}`
    line.stream.welcomes({ connectionId, features, ...(heartbeat && { heartbeat }) })
  }

  /** Sends what the stream has not had yet. */
  function sends(sessionId: string) {
    const line = flowing()
    const from = line?.sent.get(sessionId)
    if (!line || from === undefined) return
    for (let seq = from + 1; seq <= head(sessionId); seq++) line.stream.sends({ ...event, sessionId, seq })
    line.sent.set(sessionId, head(sessionId))
  }

  function publishes(sessionId: string, { isLost = false } = {}) {
    const line = live()
    const seq = head(sessionId) + 1
    heads.set(sessionId, seq)
    if (!line) return
    const { lastSeq = seq - 1 } = connection.cursor(sessionId) ?? {}
    // A server may know by other means who wants it, as long as nothing is left out.
    if (line.isOpened && !line.isAsleep && lastSeq === seq - 1 && !line.sent.has(sessionId))
      line.sent.set(sessionId, lastSeq)
    if (isLost) {
      line.sent.set(sessionId, seq)
      holeAt = lastSeq
    } else sends(sessionId)
  }

  const verdicts = (post: TestPost, status: SessionStatus = 'resumed'): readonly SessionVerdict[] =>
    lost.get(post) ??
    sessionsOf(post).map(({ sessionId, lastSeq }) => ({ sessionId, status, from: lastSeq, to: head(sessionId) }))

  /** Is there something to replay, or a replay whose end is still to be told? */
  const isReplaying = () => {
    const line = flowing()
    if (!line) return false
    const behind = [...line.sent].some(([sessionId, seq]) => seq < head(sessionId))
    return behind || !!unmarked()
  }
  const unmarked = () => {
    const post = features.includes('replay-marker') && posts.findLast(isResume)
    return post && isCurrent(post) && !marked.has(post) ? post : undefined
  }
  function replays() {
    const line = flowing()
    for (const sessionId of line?.sent.keys() ?? []) sends(sessionId)
    const post = unmarked()
    if (!post) return
    marked.add(post)
    line?.stream.sends({ type: 'reconnected', resumeId: post.body.resumeId, sessions: verdicts(post) })
  }

  /** What the server says if it has nothing to complain about. */
  function accepts(post: TestPost) {
    if (post.endpoint === 'batch') {
      const list = post.body.messages as readonly { id: string }[]
      return post.answers(200, { results: list.map(({ id }) => ({ id, status: 200, receipt: {} })) })
    }
    const isMarked = isResume(post) && features.includes('replay-marker')
    post.answers(200, { ok: true, ...(!isMarked && { sessions: verdicts(post) }) })
    if (post.endpoint === 'suspend') detaches(post)
    if (post.endpoint === 'watch' && isCurrent(post)) sends(String(post.body.sessionId))
  }

  /** What a server does that does not keep the sessions of a page that goes away. It may know no `resumeId`, and so which came first. */
  function detaches(post: TestPost) {
    const line = live()
    if (features.includes('suspend-keeps') || !isCurrent(post) || !line) return
    line.sent.clear()
    line.isAsleep = true
  }

  /** Answers a resume: the history of its sessions is lost, or they are. Nothing is replayed; the marker, where there is one, says the same. */
  function loses(post: TestPost, status: 'reset' | 'gone') {
    lost.set(post, verdicts(post, status))
    const sent = isCurrent(post) ? live()?.sent : undefined
    for (const { sessionId } of sessionsOf(post)) {
      if (status === 'reset') sent?.set(sessionId, head(sessionId))
      else sent?.delete(sessionId)
    }
    post.answers(200, { ok: true, sessions: verdicts(post) })
  }

  const probing = () =>
    flowing() && posts.findLast((post) => post.endpoint === 'probe' && isCurrent(post) && !proved.has(post))
  function proves(post: TestPost) {
    proved.add(post)
    flowing()?.stream.sends({ type: 'probe', nonce: post.body.nonce })
  }

  function letHeadersCome() {
    isSlow = false
    for (const come of wanting.splice(0)) come()
  }

  const isVisible = () => harness.page.document?.visibilityState === 'visible'
  function hides() {
    hiddenSince = now()
    harness.page.hides()
  }

  const next = () => Math.min(...timers.values())
  const passes = () => time.passes(Math.max(0, next() - now()))

  /** Does one thing that a healthy network would do. False if there is nothing to do. */
  function serve(): boolean {
    const line = flowing()
    if (line && !line.isOpened) opens(line)
    else if (line && !line.welcomes) welcomes(line)
    else {
      const probe = probing()
      const post = posts.find((post) => isCurrent(post) && isOpen(post))
      if (isReplaying()) replays()
      else if (probe) proves(probe)
      else if (post) accepts(post)
      else return false
    }
    return true
  }

  /** What a healthy network has not achieved yet. */
  function complaint(unsettled: readonly Delivery[]): string | undefined {
    if (connection.phase !== 'open') return `the phase is ${connection.phase}`
    if (!flowing()) return 'the stream is dead'
    const failed = unsettled.find((delivery) => delivery.status !== 'accepted' && !expired.has(delivery))
    if (failed) return `${failed.id} is ${failed.status}`
    for (const { sessionId, lastSeq } of connection.cursors) {
      const heard = messages.flatMap((one) => (one.sessionId === sessionId ? [Number(one.seq)] : []))
      const wasReset = told.some(({ name, event }) => name === 'session' && event.status === 'reset')
      // What comes again was asked for again, or is none of I9's business.
      const run = heard.slice(heard.findLastIndex((seq, index) => seq <= (heard[index - 1] ?? 0)))
      const isWhole = wasReset || run.every((seq, index) => seq === (run[0] as number) + index)
      if (lastSeq !== head(sessionId) || !isWhole) return `of ${sessionId} came ${heard}, there are ${head(sessionId)}`
    }
    return undefined
  }

  /**
   * I9: hands the world to a healthy network; a stream that has died stays dead. Throws if that does not lead to an open line that is up to
   * date.
   */
  async function heals() {
    const unsettled = connection.pending
    for (const delivery of unsettled) {
      void delivery.settled.then((verdict) => {
        const isPosted = posts.some((post) => carried(post).includes(delivery.id))
        if (verdict.status === 'rejected' && verdict.error.code === 'expired' && !isPosted) expired.add(delivery)
      })
    }
    letHeadersCome()
    if (!isVisible()) harness.page.shows()
    if (connection.phase === 'idle') connection.connect()
    await harness.settles()
    for (let steps = 0; steps < PATIENCE; steps++) {
      // With `maxAttempts` the line may have had enough of what happened before: then it is the app that starts it again.
      if (connection.phase === 'idle' && connection.lastError?.code === 'gave-up') {
        connection.connect()
        await harness.settles()
      }
      const line = live()
      // Without a heartbeat nobody can know.
      if (line && connection.phase === 'open' && !heartbeat) line.isDead = false
      while (serve()) await harness.settles()
      if (!complaint(unsettled) || oracle.violations.length) return oracle.check()
      if (!timers.size && connection.phase !== 'idle') break
      if (heartbeat) flowing()?.stream.sends({ type: 'ping' })
      await passes()
    }
    oracle.report('I9', `a healthy network is of no use: ${complaint(unsettled)}`)
    oracle.check()
  }

  return {
    harness,
    connection,
    oracle,
    features,
    heartbeat,
    event,
    atMost,
    lines,
    timers,
    deliveries,
    heads,
    live,
    flowing,
    head,
    pending,
    isCurrent,
    opens,
    welcomes,
    publishes,
    isReplaying,
    replays,
    accepts,
    detaches,
    isVisible,
    hides,
    loses,
    probing,
    proves,
    letHeadersCome,
    letHeadersWait() {
      isSlow = true
    },
    answersHalf(post: TestPost) {
      half.add(post)
      post.answersHalf()
    },
    left,
    /** The app throws at the next message, each of the three times that it is offered. */
    throwsThrice() {
      throwsLeft = 3
    },
    sendsMessage(lane?: string) {
      const id = `m${deliveries.length + 1}`
      lanes.set(id, lane)
      deliveries.push(connection.send(message as never, { id, lane }))
    },
    /** The lane that the app named for it. */
    laneOf: (id: string) => lanes.get(id),
    passes,
    heals,
    /** What the connection remembers and does not show, as far as it can be told from outside. */
    memory() {
      const isAtHole = connection.cursor('s1')?.lastSeq === holeAt
      const resumes = posts.filter((post) => sessionsOf(post).some(({ lastSeq }) => lastSeq === holeAt))
      return {
        isSlow,
        throwsLeft,
        wanting: wanting.length,
        refusals,
        silentFor: now() - lastSign,
        hiddenFor: isVisible() ? -1 : Math.min(now() - hiddenSince, 60_000),
        fruitless: isAtHole ? Math.min(resumes.length, 4) : 0,
      }
    },
    isHalf: (post: TestPost) => half.has(post),
    isMarked: (post: TestPost) => marked.has(post),
  }
}

export const isResume = ({ endpoint }: TestPost) => endpoint === 'reconnect'
export const isSuspend = ({ endpoint }: TestPost) => endpoint === 'suspend'
export const isAttachment = ({ endpoint }: TestPost) => endpoint === 'watch' || endpoint === 'unwatch'
export const isOfTheApp = ({ key, endpoint }: TestPost) => key !== null || endpoint === 'batch'

/** The same clock; `timers` are those that were set on it. */
const overlooked = (clock: Clock, timers: Map<unknown, number>): Clock => ({
  now: clock.now,
  setTimeout(callback, ms) {
    const id = clock.setTimeout(() => {
      timers.delete(id)
      callback()
    }, ms)
    timers.set(id, clock.now() + Math.max(0, ms))
    return id
  },
  clearTimeout(id) {
    timers.delete(id)
    clock.clearTimeout(id)
  },
})

const ON_PURPOSE = 'thrown on purpose'
const MAX_WELCOMES = 2
const HOUR = 3_600_000

const always = () => true
const isActive = ({ connection }: World) => connection.phase !== 'idle'
const hasSomethingToPost = ({ connection }: World) => connection.pending.length + connection.cursors.length > 0
const command = (act: Letter['act'], isEnabled: Letter['isEnabled'] = always): Letter => ({ isEnabled, act })

/** Something that the server does on the live stream. */
const down = (
  act: (line: Line, world: World) => void,
  can: (line: Line, world: World) => boolean = always,
): Letter => ({
  isEnabled: (world) => {
    const line = world.flowing()
    return !!line && can(line, world)
  },
  act: (world) => act(world.flowing() as Line, world),
})
const isWelcomed = ({ welcomes }: Line) => welcomes > 0

/** How the oldest POST of a kind that is not answered yet ends. */
const ends = (is: (post: TestPost) => boolean, act: (post: TestPost, world: World) => void): Letter => ({
  isEnabled: (world) => !!world.pending(is),
  act: (world) => act(world.pending(is) as TestPost, world),
})
const accepts = (post: TestPost, world: World) => world.accepts(post)
const says = (status: number, headers?: Readonly<Record<string, string>>) => (post: TestPost) =>
  post.answers(status, {}, headers)
const TWO_SECONDS = { 'retry-after': '2' }

/** What was aborted, and is answered all the same. */
const late = (act: (post: TestPost, world: World) => void): Letter => {
  const isDead = ({ isAborted, isAnswered }: TestPost) => isAborted && !isAnswered
  return {
    isEnabled: ({ harness }) => harness.posts.some(isDead),
    act(world) {
      for (const post of world.harness.posts.filter(isDead)) act(post, world)
    },
  }
}

/** What can happen to a connection. An app adds letters of its own, or leaves some out. */
export const ALPHABET: Alphabet = {
  // The app
  connect: command(({ connection }) => connection.connect()),
  disconnect: command(({ connection }) => connection.disconnect()),
  reconnect: command(({ connection }) => connection.reconnect()),
  wake: command(({ connection }) => connection.wake()),
  send: command(
    (world) => world.sendsMessage(),
    ({ deliveries, atMost }) => deliveries.length < atMost.messages,
  ),
  'send apart': command(
    (world) => world.sendsMessage('apart'),
    ({ deliveries, atMost }) => deliveries.length < atMost.messages,
  ),
  cancel: command(
    ({ connection }) => connection.pending[0]?.cancel(),
    ({ connection }) => connection.pending.length > 0,
  ),
  'watch s1': command(
    ({ connection, left }) => {
      left.delete('s1')
      connection.watch('s1')
    },
    ({ connection }) => !connection.cursor('s1'),
  ),
  'watch s2': command(
    ({ connection }) => connection.watch('s2'),
    ({ connection }) => !!connection.cursor('s1') && !connection.cursor('s2'),
  ),
  'unwatch s1': command(
    ({ connection, left }) => {
      connection.unwatch('s1')
      left.add('s1')
    },
    ({ connection }) => !!connection.cursor('s1'),
  ),

  // The page
  'page sleeps for an hour': command(async ({ harness: { page, time } }) => {
    page.hides()
    time.jumps(HOUR)
    page.shows()
    // The timers that are due by now.
    await time.passes(0)
  }, isActive),
  'page hides': command(
    (world) => world.hides(),
    (world) => isActive(world) && world.isVisible(),
  ),
  'page shows': command(
    ({ harness: { page } }) => page.shows(),
    (world) => !world.isVisible(),
  ),
  'navigation that stays': command(({ harness: { page } }) => page.stays(), isActive),
  'page comes back from the cache': command(({ harness: { page } }) => {
    page.leaves()
    page.returns()
  }, isActive),

  // The stream
  'stream opened': down(
    (line, world) => world.opens(line),
    ({ isOpened, welcomes }) => !isOpened && !welcomes,
  ),
  'stream welcomed': down(
    (line, world) => world.welcomes(line),
    ({ welcomes }) => welcomes < MAX_WELCOMES,
  ),
  'stream failed': down(({ stream }) => stream.fails()),
  'stream refused 401': down(
    ({ stream }) => stream.fails(401),
    ({ welcomes }) => !welcomes,
  ),
  // The connection asks why, and is told.
  'ask 401': ends(isAsk, says(401)),
  'ask 429': ends(isAsk, says(429, TWO_SECONDS)),
  'ask lost': ends(isAsk, (post) => post.fails()),
  // Three in a row are one too many.
  'stream refused 403': down(
    ({ stream }) => stream.fails(403),
    ({ welcomes }) => !welcomes,
  ),
  'stream silent': down((line) => {
    line.isDead = true
  }),
  goodbye: down(({ stream }) => stream.sends({ type: 'goodbye', retryAfter: 2_000 }), isWelcomed),
  event: command(
    (world) => world.publishes('s1'),
    (world) => world.head('s1') < world.atMost.events && (!!world.connection.cursor('s1') || !!world.live()?.isOpened),
  ),
  'event gapped': command(
    (world) => {
      world.publishes('s1', { isLost: true })
      world.publishes('s1')
    },
    (world) =>
      world.features.includes('contiguous-seq') &&
      !!world.flowing()?.sent.has('s1') &&
      world.head('s1') + 1 < world.atMost.events,
  ),
  'event repeated': down(
    ({ stream }, { event, head }) => stream.sends({ ...event, sessionId: 's1', seq: head('s1') }),
    ({ sent }, world) => world.head('s1') > 0 && sent.get('s1') === world.head('s1'),
  ),
  replayed: command(
    (world) => world.replays(),
    (world) => world.isReplaying(),
  ),
  'probe answered': command(
    (world) => world.proves(world.probing() as TestPost),
    (world) => !!world.probing(),
  ),

  // What is posted
  'resume ok': ends(isResume, accepts),
  'resume 500': ends(isResume, says(500)),
  'resume 429': ends(isResume, says(429, TWO_SECONDS)),
  'resume 401': ends(isResume, says(401)),
  'resume 403': ends(isResume, says(403)),
  'resume 404': ends(isResume, says(404)),
  'send ok': ends(isOfTheApp, accepts),
  'send lost before': ends(isOfTheApp, (post) => post.fails()),
  // The server has taken it, and tells so in an event.
  'send lost after': ends(isOfTheApp, (post, world) => {
    post.fails()
    if (world.head('s1') < world.atMost.events) world.publishes('s1')
  }),
  'send half answered': ends(isOfTheApp, (post, world) => world.answersHalf(post)),
  'send 429': ends(isOfTheApp, says(429, TWO_SECONDS)),
  'send 401': ends(isOfTheApp, says(401)),
  'send 403': ends(isOfTheApp, says(403)),
  'send 404': ends(isOfTheApp, says(404)),
  'watch ok': ends(isAttachment, accepts),
  'watch 500': ends(isAttachment, says(500)),
  'suspend ok': ends(isSuspend, accepts),
  // The server has heard of it.
  'suspend lost after': ends(isSuspend, (post, world) => {
    world.detaches(post)
    post.fails()
  }),
  'headers wait': command(
    (world) => world.letHeadersWait(),
    (world) => isActive(world) && !world.memory().isSlow && hasSomethingToPost(world),
  ),
  'headers come': command(
    (world) => world.letHeadersCome(),
    (world) => world.memory().isSlow,
  ),

  // Time
  'time passes': command(
    (world) => world.passes(),
    ({ timers }) => timers.size > 0,
  ),

  // What comes too late
  'late stream': command(
    ({ lines, event, head }) => {
      for (const { stream } of lines) {
        if (!stream.isClosed) continue
        stream.opens()
        stream.welcomes({ connectionId: stream.connectionId ?? 'late' })
        stream.sends({ ...event, sessionId: 's1', seq: head('s1') + 1 })
        stream.sends({ type: 'goodbye', retryAfter: 2_000 })
        stream.fails()
      }
    },
    ({ lines }) => lines.some(({ stream }) => stream.isClosed),
  ),
  // The end of the replay of an earlier resume.
  'late marker': down(
    ({ stream, resumes }) => stream.sends({ type: 'reconnected', resumeId: resumes[0]?.body.resumeId, sessions: [] }),
    ({ resumes }, { features }) => features.includes('replay-marker') && resumes.length > 1,
  ),
  'late ok': late(accepts),
  'late 401': late(says(401)),
  'late 500': late(says(500)),
}

/** A server that has said `resumed` in the marker does not say otherwise in the answer. */
const loses = (status: 'reset' | 'gone'): Letter => {
  const resume = (world: World) => world.pending((post) => isResume(post) && !world.isMarked(post))
  return {
    isEnabled: (world) => !!resume(world),
    act: (world) => world.loses(resume(world) as TestPost, status),
  }
}

/** What a server says that has lost something, to be added to `ALPHABET`: it is the app that has to do something about it. */
export const RESETS: Alphabet = {
  // History was lost: what is shown is stale. The cursors are at the head.
  'resume reset': loses('reset'),
  'resume gone': loses('gone'),
}

const isBatch = ({ endpoint }: TestPost) => endpoint === 'batch'
/** The first message is taken, the others are refused. */
const mixed = ({ body }: TestPost) =>
  (body.messages as readonly { id: string }[]).map(({ id }, index) => ({ id, status: index ? 403 : 200, receipt: {} }))

/** What is rarer, to be added to `ALPHABET`: answers that are half good, late or out of order, and an app that throws. */
export const ODDITIES: Alphabet = {
  'batch mixed': ends(isBatch, (post) => post.answers(200, { results: mixed(post) })),
  // The order is a promise of the protocol: nothing may be taken from one that breaks it.
  'batch shuffled': ends(isBatch, (post) => post.answers(200, { results: mixed(post).reverse() })),
  'late probe answer': down(
    ({ stream }) => stream.sends({ type: 'probe', nonce: 'of another' }),
    (_, world) => !!world.probing(),
  ),
  // It was on its way when the server was told.
  'event after unwatch': down(
    ({ stream }, { event, heads, head }) => {
      const seq = head('s1') + 1
      heads.set('s1', seq)
      stream.sends({ ...event, sessionId: 's1', seq })
    },
    ({ welcomes }, world) => welcomes > 0 && world.left.has('s1') && world.head('s1') < world.atMost.events,
  ),
  // As fast as it can.
  'welcomed ten times': down((line, world) => {
    for (let welcome = 0; welcome < 10; welcome++) world.welcomes(line)
  }, isWelcomed),
  'listener throws thrice': down(
    (_, world) => {
      world.throwsThrice()
      world.publishes('s1')
    },
    ({ sent }, world) =>
      sent.get('s1') === world.head('s1') && !world.memory().throwsLeft && world.head('s1') < world.atMost.events,
  ),
}
