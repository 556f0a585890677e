import type { Connection, Delivery, SendOptions, Verdict } from '../../types'
import type { Harness, Observer } from '../harness/harness'
import { type Answer, isAsk, type TestPost, type TestStream } from '../harness/network'

/** What holds at every moment, whatever happens. I9 is about the future, so it is `explore` that looks after it. */
export const INVARIANTS = {
  I1: 'at most one live stream; none in idle and backoff',
  I2: 'at most one resume in flight, only in reconnecting, only for the current connectionId',
  I3: 'no send POST starts outside open',
  I4: 'messages of a lane are posted in the order of send()',
  I5: 'every message ends in exactly one verdict, or is still pending',
  I6: 'an event reaches the app at most once and in rising order',
  I7: 'opened and closed alternate, beginning with opened',
  I8: 'in idle no timer, request, stream or page listener is left',
  I9: 'a healthy network leads to open in a bounded number of steps',
  I10: 'messages flow in reconnecting as in open',
  I11: 'a result that belongs to an earlier stream or POST changes nothing',
  I12: 'attempts are never closer than the pacing allows, unless the app or the page asked',
  I13: 'on an open line no message holds up another lane, and none its own once the server is known to take others',
  I14: 'after a suspend no send leaves on that stream before it has been resumed',
  I15: 'what the outbox waits for, and until when, is in the snapshot; no wait of its own outlives its stream',
  app: 'no listener throws, and what the app promises',
} as const
export type Invariant = keyof typeof INVARIANTS

export interface Violation {
  readonly invariant: Invariant
  /** What was seen. */
  readonly message: string
  /** ms since the epoch. */
  readonly at: number
}

export interface Oracle {
  /** In the order in which they were seen. */
  readonly violations: readonly Violation[]
  /** Throws an error that lists what was seen until everything had settled last, if there is anything. */
  check(): void
  /** For what is judged elsewhere. */
  report(invariant: Invariant, message: string): void
  /** What it has seen, as far as that decides what it will say. */
  memory(): readonly unknown[]
}

export interface OracleOptions {
  /** `outbox.maxFailures` of the connection. Default 12. */
  readonly maxFailures?: number
  /** `outbox.maxInFlight` of the connection. Default 3. */
  readonly maxInFlight?: number
  /**
   * Whether a POST may wait for its headers now, which cannot be seen from outside. I13 is judged only while this is false. Default: it
   * always may.
   */
  readonly isPreparing?: () => boolean
}

type Report = (message: string) => void
/** Watches over one invariant. What it knows comes from the fakes, the clock and the public interface only. */
type Watch = (
  harness: Harness,
  report: Report,
  options: Required<OracleOptions>,
) => Observer & Pick<Partial<Oracle>, 'memory'>

/**
 * Watches a connection from the outside: the streams and requests that it makes, the time at which it makes them, and what it tells. It
 * shares nothing with the code that it judges. To be called before the connection is used.
 *
 * Let things settle (`harness.settles()`, `passes()`) between a late result and what the app does next: what changes in one go
 * cannot be told apart. With `dedupe: false` I6 does not hold.
 */
export function watchInvariants(
  harness: Harness,
  { maxFailures = 12, maxInFlight = 3, isPreparing = () => true }: OracleOptions = {},
): Oracle {
  const violations: Violation[] = []
  const report = (invariant: Invariant, message: string) => {
    if (violations.some((known) => known.invariant === invariant && known.message === message)) return
    violations.push({ invariant, message, at: harness.time.clock.now() })
  }
  const observers = Object.entries(WATCHES).map(([name, watch]) =>
    watch(harness, (message) => report(name as Invariant, message), {
      maxFailures,
      maxInFlight,
      isPreparing,
    }),
  )
  for (const observer of observers) harness.observe(observer)
  return {
    violations,
    report,
    check() {
      if (violations.length) throw new Error(`holdline invariants:\n${violations.map(describe).join('\n')}`)
    },
    memory: () => observers.map((observer) => observer.memory?.()),
  }
}

const describe = ({ invariant, message }: Violation) => `  ${invariant} (${INVARIANTS[invariant]}): ${message}`

// I1

const oneStream: Watch = ({ connection, streams, posts }, report) => ({
  onStream(stream) {
    if (streams.some((other) => other !== stream && !other.isClosed)) report('a stream begins beside a live one')
  },
  onSettled() {
    const { phase } = connection
    const live = streams.filter(isLive).length
    if (live > 1 || (live && isStreamless(phase))) report(`${live} live in ${phase}`)
    const isAsking = posts.some((post) => isAsk(post) && isInFlight(post))
    if (isAsking && (live || phase !== 'connecting'))
      report(`it is asked why a stream failed in ${phase}, with ${live} live`)
  },
})

// I2

const oneResume: Watch = ({ connection, streams, posts }, report) => ({
  onPost(post) {
    if (!isResume(post)) return
    if (connection.phase !== 'reconnecting') report(`a resume starts in ${connection.phase}`)
    if (post.connectionId !== liveId(streams)) report(`a resume for ${post.connectionId}, it is ${liveId(streams)}`)
    if (posts.some((other) => other !== post && isResume(other) && isInFlight(other))) report('a resume beside another')
  },
  onSettled() {
    const { phase } = connection
    if (phase !== 'reconnecting' && posts.some((post) => isResume(post) && isInFlight(post))) report(`one in ${phase}`)
  },
})

// I3

const sendsInOpen: Watch = ({ connection, streams }, report) => ({
  onPost(post) {
    if (!isOfQueue(post)) return
    if (connection.phase !== 'open') report(`${post.endpoint} is posted in ${connection.phase}`)
    if (post.connectionId !== liveId(streams)) report(`${post.endpoint} is posted to ${post.connectionId}`)
  },
})

// I4

const inOrder: Watch = ({ connection }, report, { maxFailures }) => {
  const lines = new Lines(connection)
  return {
    onPost(post) {
      for (const id of carried(post)) {
        const line = lines.of(id)
        for (const { delivery, isStop } of line) {
          if (delivery.id === id) break
          // One that has used up its failures is passed, and a stop does not wait behind what it stops.
          const mayBePassed = delivery.attempts >= maxFailures || (!isStop && lines.isStop(id))
          if (delivery.status === 'queued' && !mayBePassed && !carried(post).includes(delivery.id))
            report(`${id} is posted before ${delivery.id}`)
        }
      }
    },
    onSettled: lines.tidy,
  }
}

// I13

const noneHeldUp: Watch = ({ connection, posts }, report, { isPreparing, maxFailures, maxInFlight }) => {
  const lines = new Lines(connection)
  return {
    onSettled() {
      lines.tidy()
      const { phase, outbox } = connection.getSnapshot()
      if (phase !== 'open' || outbox.state === 'held' || isPreparing()) return
      const busy = posts.filter((post) => isInFlight(post) && (post.key !== null || post.endpoint === 'batch'))
      if (busy.length >= maxInFlight) return
      const isUnderWay = (id: string) => busy.some((post) => carried(post).includes(id))
      for (const line of lines.all()) {
        // A stop, and what it stops, are two: each may be under way.
        for (const own of [line.filter(({ isStop }) => isStop), line.filter(({ isStop }) => !isStop)]) {
          const [first] = own
          if (!first || own.some(({ delivery }) => isUnderWay(delivery.id) || delivery.retryAt !== null)) continue
          const isBehindStop =
            !first.isStop && line.some(({ isStop, delivery }) => isStop && delivery.attempts < maxFailures)
          if (!isBehindStop) report(`${first.delivery.id} waits, and is told for nothing`)
        }
      }
    },
  }
}

// I14

const resumedFirst: Watch = ({ connection, streams }, report) => {
  let isKept = false
  /** The stream that a suspend was posted for, and no resume has succeeded on since. */
  let suspended: string | null = null
  let resume: TestPost | undefined
  return {
    onFrame(stream, type, data) {
      if (type !== 'welcome' || stream !== liveOf(streams)) return
      isKept = keepsSessions(data)
      // It begins anew.
      suspended = null
    },
    onPost(post) {
      const { connectionId, endpoint } = post
      if (endpoint === 'suspend' && !isKept && connectionId === liveId(streams)) {
        suspended = connectionId
        resume = undefined
      } else if (suspended === null || connectionId !== suspended) return
      else if (isResume(post)) resume = post
      else if (isOfQueue(post)) report(`${endpoint} is posted on ${suspended}, which is suspended`)
    },
    onAnswer(post, { status }) {
      if (post === resume && isOk(status)) suspended = null
    },
    onSettled() {
      const { outbox } = connection.getSnapshot()
      if (suspended === liveId(streams) && suspended !== null && outbox.state !== 'held')
        report(`the outbox is ${outbox.state} on ${suspended}, which is suspended`)
    },
    memory: () => [suspended !== null && suspended === liveId(streams)],
  }
}

// I15

const waitsAreTold: Watch = ({ connection, time }, report) => {
  const { now } = time.clock
  /** When the last wait ends that a server has asked for, at the latest. */
  let askedUntil = 0
  let hasFailed = false
  let isFresh = false
  let stream: string | null = null
  connection.on('opened', ({ connectionId }) => {
    isFresh = connectionId !== stream
    stream = connectionId
  })
  return {
    onAnswer(post, answer) {
      const wishes = resultsOf(post, answer.status, answer.text).flatMap(({ retryAfter }) => retryAfter ?? [])
      for (const ms of [wishOf(answer, now()).retryAfter, ...wishes])
        askedUntil = Math.max(askedUntil, now() + 1.5 * clamp(ms))
      hasFailed ||= !isOk(answer.status) || wishes.length > 0
    },
    onSettled() {
      const { phase, outbox } = connection.getSnapshot()
      const waits = connection.pending.flatMap(({ retryAt }) => retryAt ?? [])
      const first = waits.length ? Math.min(...waits) : null
      if (outbox.retryAt !== first) report(`the snapshot says ${outbox.retryAt}, the deliveries ${first}`)
      if (phase !== 'open' && outbox.state !== 'held') report(`${outbox.state} in ${phase}`)
      if (outbox.state === 'pausing' && first === null) report('pausing, and nothing waits')
      if (isFresh && !hasFailed && first !== null && first > askedUntil)
        report(`a wait of ${first - now()} ms outlives its stream`)
      isFresh = false
      hasFailed = false
    },
    memory: () => [Math.max(0, askedUntil - now())],
  }
}

// I5

const oneVerdict: Watch = ({ connection, posts }, report) => {
  const unsettled = new Map<string, Delivery>()
  const ended = new Map<string, Delivery['status']>()
  const verdicts = new Map<string, Verdict>()
  const taken = new Set<string>()
  /** Answered 401: it may be posted again, with other headers, at any moment. */
  const refused = new Set<string>()
  onDelivery(connection, (delivery) => {
    const { id } = delivery
    ended.delete(id)
    verdicts.delete(id)
    unsettled.set(id, delivery)
    void delivery.settled.then((verdict) => verdicts.set(id, verdict))
  })
  connection.on('delivery', ({ id, status }) => {
    const before = ended.get(id)
    if (before) report(`${id} is told ${status} after ${before}`)
    if (isFinal(status)) ended.set(id, status)
    if (status === 'accepted' && !taken.has(id)) report(`${id} is accepted, and no 2xx said so`)
  })
  return {
    onAnswer(post, { status, text }) {
      for (const { id, status: own } of resultsOf(post, status, text)) {
        if (isOk(own)) taken.add(id)
        if (own === 401) refused.add(id)
        else refused.delete(id)
      }
    },
    onSettled() {
      if (!unsettled.size) return
      const { pending } = connection
      for (const [id, delivery] of unsettled) {
        const { status } = delivery
        const verdict = verdicts.get(id)?.status
        const places = pending.filter((other) => other === delivery).length
        const isCarried = posts.some((post) => isInFlight(post) && carried(post).includes(id))
        if (isFinal(status)) {
          if (verdict !== status || ended.get(id) !== status) {
            report(`${id} is ${status}, its verdict ${verdict}, and ${ended.get(id)} was told`)
          }
          if (places) report(`${id} is ${status} and pending`)
          unsettled.delete(id)
        } else {
          if (verdict) report(`${id} is ${status}, and its verdict ${verdict}`)
          if (places !== 1) report(`${id} is ${status}, and pending ${places} times`)
          if (isCarried === (status === 'sending') || refused.has(id)) continue
          report(`${id} is ${status}; under way: ${isCarried}`)
        }
      }
    },
  }
}

// I6

const risingOnce: Watch = ({ connection }, report) => {
  const last = new Map(connection.cursors.map(({ sessionId, lastSeq }) => [sessionId, lastSeq]))
  const lost = new Set<string>()
  connection.on('message', ({ sessionId, seq }) => {
    if (typeof sessionId !== 'string' || typeof seq !== 'number') return
    const before = last.get(sessionId) ?? 0
    if (seq <= before) report(`${sessionId} ${seq} comes after ${before}`)
    const { lastSeq = 0 } = connection.cursor(sessionId) ?? {}
    if (lastSeq >= seq) report(`the cursor of ${sessionId} is at ${lastSeq} before the app has had ${seq}`)
    last.set(sessionId, seq)
  })
  connection.on('session', ({ sessionId, status, to }) => {
    if (status === 'reset') {
      last.set(sessionId, to)
      lost.add(sessionId)
    } else if (status !== 'resumed') last.delete(sessionId)
  })
  // The app asks for what it has had.
  before(connection, ['watch'], (...[sessionId, { after } = {}]: Parameters<Connection['watch']>) => {
    if (!connection.cursor(sessionId)) last.delete(sessionId)
    else if (!lost.has(sessionId)) return
    if (after === undefined) return
    lost.delete(sessionId)
    last.set(sessionId, after === 'head' ? 0 : typeof after === 'object' ? after.lastSeq : after)
  })
  before(connection, ['unwatch'], (sessionId: string) => last.delete(sessionId))
  return { memory: () => [...last] }
}

// I7

const alternate: Watch = ({ connection }, report) => {
  let isOpen = false
  const told = (opened: boolean) => () => {
    if (isOpen === opened) report(`${opened ? 'opened' : 'closed'} twice in a row`)
    isOpen = opened
  }
  connection.on('opened', told(true))
  connection.on('closed', told(false))
  return {
    onSettled() {
      const { phase } = connection
      if (isOpen !== (phase === 'open')) report(`${isOpen ? 'opened' : 'closed'} was told last, in ${phase}`)
    },
    memory: () => [isOpen],
  }
}

// I8

const nothingInIdle: Watch = ({ connection, streams, posts, page, time }, report) => {
  /** The one exception: until `connect` is called, a message that was sent has a timer that says so. */
  let hints = 0
  let hasConnected = false
  before(connection, ['send'], () => {
    hints = hasConnected ? 0 : 1
  })
  before(connection, ['connect', 'dispose'], () => {
    hasConnected = true
    hints = 0
  })
  return {
    onSettled() {
      if (connection.phase !== 'idle') return
      if (time.clock.pending > hints) report(`${time.clock.pending} timers`)
      if (streams.some(isLive)) report('a stream')
      if (page.listeners) report(`${page.listeners} page listeners`)
      const post = posts.find(isInFlight)
      if (post) report(`${post.endpoint} is under way`)
    },
  }
}

// I10

const flow: Watch = ({ connection, messages }, report) => {
  /** Without a cursor because the app, or the server, said so: as long as the stream lives. */
  const left = new Set<unknown>()
  const seen = new Map<unknown, unknown>()
  before(connection, ['watch'], (...[sessionId, { after } = {}]: Parameters<Connection['watch']>) => {
    left.delete(sessionId)
    if (after !== undefined) seen.delete(sessionId)
  })
  before(connection, ['unwatch'], (sessionId: string) => left.add(sessionId))
  connection.on('session', ({ sessionId, status }) => {
    if (status === 'gone' || status === 'forbidden') left.add(sessionId)
    if (status === 'reset') seen.delete(sessionId)
  })
  connection.on('message', ({ sessionId, seq }) => {
    seen.set(sessionId, seq)
    if (seq !== undefined && left.has(sessionId)) report(`a message of ${sessionId}, which the app has left`)
  })

  /** Must the app hear of it at once? Not if it waits behind a message that a listener threw at. */
  const isDue = ({ type, sessionId, seq, epoch }: Partial<Record<string, unknown>>) => {
    if (seq === undefined || sessionId === undefined) return !CONTROL.includes(type)
    const cursor = connection.cursor(String(sessionId))
    if (!cursor) return !left.has(sessionId)
    const isSameLife = epoch === undefined || cursor.epoch === undefined || epoch === cursor.epoch
    return isSameLife && seq === cursor.lastSeq + 1 && seq !== seen.get(sessionId)
  }
  return {
    memory: () => [...left],
    // One that brings it unasked brings what is new.
    onStream: () => left.clear(),
    onFrame(stream, type, data) {
      if (type !== 'message' || stream.isClosed) return
      const message = parse(data)
      if (typeof message !== 'object' || message === null || !isDue(message)) return
      const { phase } = connection
      const count = messages.length
      return () => {
        if (!messages.slice(count).some((heard) => JSON.stringify(heard) === JSON.stringify(message))) {
          report(`a message that was due did not reach the app in ${phase}`)
        }
      }
    },
  }
}

// I11

const stale: Watch = (harness, report) => {
  const { connection, streams, posts, told } = harness
  const state = () => JSON.stringify(connection.actor.getSnapshot().value)
  const everything = () => [connection.getSnapshot(), state(), told.length, streams.length, posts.length]
  const line = () => {
    const { phase, attempt, connectionId, lastError } = connection
    return [phase, state(), attempt, connectionId, lastError, streams.length]
  }
  /** A late result, and what must not change with it. Judged only if nothing else happens with it. */
  let suspect: { what: string; state: () => readonly unknown[]; before: readonly unknown[] } | null = null
  let isQuiet = false
  const disturb = () => {
    isQuiet = false
  }
  const late = (what: string, state: () => readonly unknown[]) => {
    if (!suspect && isQuiet) suspect = { what, state, before: state() }
    else if (suspect && suspect.state !== state) disturb()
  }
  const isOldMarker = (frame: unknown) => {
    const { type, resumeId } = Object(frame)
    return type === 'reconnected' && resumeId !== undefined && resumeId !== posts.findLast(isResume)?.body.resumeId
  }
  const isOldProof = (frame: unknown) => {
    const { type, nonce } = Object(frame)
    return type === 'probe' && nonce !== posts.findLast(({ endpoint }) => endpoint === 'probe')?.body.nonce
  }
  before(connection, COMMANDS, disturb)
  before(harness.page, PAGE_EVENTS, disturb)
  return {
    onFrame(stream, type, data) {
      if (stream !== liveOf(streams)) late(`a late ${type} of a stream`, everything)
      else if (type === 'message' && isOldMarker(parse(data))) late('the marker of an earlier resume', line)
      else if (type === 'message' && isOldProof(parse(data))) late('the answer to another probe', line)
      else disturb()
    },
    onAnswer(post, { status }) {
      const isOld = post.connectionId !== liveId(streams)
      if (post.isAborted) late(`a late ${status} of ${post.endpoint}`, everything)
      // What was applied on an old stream is applied; what is said of that stream is of the past.
      else if (isOld && (status === 401 || status === 404)) late(`a ${status} that speaks of an old stream`, line)
      else disturb()
    },
    onSettled() {
      if (suspect && isQuiet) {
        const { what, state, before } = suspect
        if (state().some((value, index) => value !== before[index])) report(`${what} changed something`)
      }
      suspect = null
      isQuiet = true
    },
  }
}

// I12

const pacing: Watch = ({ connection, streams, page, time, random }, report) => {
  const { policy } = connection.actor.getSnapshot().context
  const { backoff, timeouts } = policy
  const { now } = time.clock
  /** In a row, as far as can be seen from here: not more than the connection counts. */
  let failures = 0
  let openedAt: number | null = null
  let isFirst = true
  /** When the next attempt may be made; unknown until the last one has failed. */
  let due = Number.POSITIVE_INFINITY
  /** When a message may be posted again; what the client chose ends with the stream. */
  const repeats = new Map<string, { readonly at: number; readonly isAskedFor: boolean }>()
  /** How often a lane has failed in a row. */
  const failuresOf = new Map<string, number>()
  const lines = new Lines(connection)
  const laneOf = (id: string) => lines.nameOf(id) ?? id
  let stream: string | null = null
  // What happened since everything had settled.
  let isAsked = false
  let askedAt = Number.NaN
  const wokenAt: number[] = []
  const stayedAt: number[] = []
  let isDisowned = false
  let draws: number[] = []
  let wish = NO_WISH
  let failed: { id: string; wish: Wish }[] = []

  let isKept = false
  /** The page has gone away, and the stream has not been resumed since. It may be found to be lost, and replaced at once. */
  let isAsleep = false

  /** Resumes of this stream, beyond the first and those that the app asked for, without a pause between them. */
  let resumes = -1

  const ask = () => {
    isAsked = true
  }
  before(connection, ['watch', 'unwatch'], () => {
    resumes--
  })
  before(connection, ['connect'], () => {
    if (connection.phase === 'idle') failures = 0
  })
  const wake = () => {
    ask()
    wokenAt.push(now())
  }
  const sleep = () => {
    isAsleep ||= !isKept && connection.phase === 'open' && connection.cursors.length > 0
  }
  before(connection, ['suspend'], sleep)
  before(page, ['hides', 'leaves', 'freezes'], sleep)
  before(connection, ['connect', 'reconnect'], ask)
  before(connection, ['wake'], wake)
  before(page, ['shows', 'returns', 'comesOnline'], wake)
  before(page, ['stays'], () => {
    wokenAt.push(now() + STAYS)
    stayedAt.push(now() + STAYS)
  })
  // The page lifecycle notices it as soon as a timer has a chance to fire.
  before(time, ['jumps'], (ms: number) => {
    askedAt = now() + ms
  })

  /** The least that has to be waited after the `count`th failure in a row. */
  const wait = (count: number, { retryAfter, spread }: Wish = NO_WISH) => {
    // An app with a random source of its own is not watched drawing.
    const factor = policy.random !== random ? 0 : draws.length ? Math.min(...draws) : 1
    const exponential = Math.min(backoff.cap, backoff.base * 2 ** (count - 1))
    return Math.floor(Math.max(factor * exponential, clamp(retryAfter) + factor * clamp(spread)))
  }
  const failuresNow = () => (openedAt !== null && now() - openedAt >= backoff.stableDelay ? 0 : failures)

  const shut = () => {
    if (openedAt !== null && now() - openedAt >= backoff.stableDelay) resumes = Math.min(resumes, 0)
    failures = failuresNow()
    openedAt = null
  }
  connection.on('opened', ({ connectionId }) => {
    openedAt = now()
    isAsleep = false
    if (connectionId === stream) return
    stream = connectionId
    failuresOf.clear()
    failed = failed.filter(({ wish }) => wish.retryAfter > 0)
    for (const [id, { isAskedFor }] of repeats) if (!isAskedFor) repeats.delete(id)
  })
  connection.on('delivery', ({ id, status }) => {
    if (isFinal(status)) failuresOf.delete(laneOf(id))
  })
  // A second welcome closes and opens in the same phase.
  connection.on('closed', shut)
  connection.on('phase', ({ phase }) => {
    if (phase === 'open') return
    shut()
    if (isAsleep && phase === 'reconnecting') wokenAt.push(now())
    if (phase !== 'backoff') return
    failures++
    due = now() + wait(failures, wish)
  })

  const until = (at: number) => Math.max(0, at - now())
  return {
    memory: () => [
      Math.min(failures, 5),
      due < Number.POSITIVE_INFINITY ? until(due) : -1,
      openedAt === null ? -1 : until(openedAt + backoff.stableDelay),
      isAsleep,
      ...[...repeats].flatMap(([id, { at }]) => (until(at) ? [id, until(at)] : [])),
      ...failuresOf,
    ],
    onDraw: (value) => void draws.push(value),
    onStream() {
      resumes = -1
      isAsleep = false
      // What was to be probed then has not proved itself.
      const isProbeOver = wokenAt.some((at) => at + timeouts.probe === now())
      const isFreeTry = isDisowned && failuresNow() === 0
      if (isFreeTry) failures = 1
      const early = due - now()
      due = Number.POSITIVE_INFINITY
      const isByPage = askedAt === now() || stayedAt.includes(now())
      if (isFirst || isAsked || isByPage || isProbeOver || isFreeTry || early <= 0) isFirst = false
      else if (early === Number.POSITIVE_INFINITY) report('a stream that nobody asked for')
      else report(`a stream ${Math.ceil(early)} ms too early`)
    },
    onFrame(_, type, data) {
      if (type === 'welcome') isKept = keepsSessions(data)
      const { type: name, retryAfter = 0, spread = retryAfter / 2 } = type === 'message' ? Object(parse(data)) : {}
      if (name === 'goodbye') wish = { retryAfter, spread }
    },
    onPost(post) {
      if (post.endpoint === 'suspend' && !isKept) resumes--
      if (isResume(post) && ++resumes > MAX_RESUMES) report(`a stream is resumed ${resumes} times without a pause`)
      const early = (repeats.get(String(carried(post)[0]))?.at ?? 0) - now()
      if (early > 0) report(`a message is repeated ${Math.ceil(early)} ms too early`)
    },
    onAnswer(post, answer) {
      if (post.isAborted) return
      const { status, text } = answer
      const wished = wishOf(answer, now())
      if ((isResume(post) || isAsk(post)) && !isOk(status)) wish = wished
      const results = resultsOf(post, status, text)
      const is404 = status === 404 || results.some((result) => result.status === 404)
      if (is404 && post.connectionId === liveId(streams)) isDisowned = true
      if (is404 && isAsleep && isResume(post)) ask()
      // A batch that failed as a whole is the failure of its first message.
      for (const result of isOk(status) ? results : results.slice(0, 1)) {
        const { id, retryAfter } = result
        if (!MAY_PASS.includes(result.status)) continue
        failuresOf.set(laneOf(id), (failuresOf.get(laneOf(id)) ?? 0) + 1)
        failed.push({ id, wish: retryAfter === undefined ? wished : { retryAfter, spread: retryAfter / 2 } })
      }
    },
    onSettled() {
      for (const { id, wish } of failed) {
        const at = now() + wait(failuresOf.get(laneOf(id)) ?? 1, wish)
        repeats.set(id, { at, isAskedFor: wish.retryAfter > 0 })
      }
      for (const id of repeats.keys())
        if (!connection.pending.some((delivery) => delivery.id === id)) repeats.delete(id)
      lines.tidy()
      isAsked = false
      isDisowned = false
      draws = []
      wish = NO_WISH
      failed = []
    },
  }
}

const WATCHES: Partial<Record<Invariant, Watch>> = {
  I1: oneStream,
  I2: oneResume,
  I3: sendsInOpen,
  I4: inOrder,
  I5: oneVerdict,
  I6: risingOnce,
  I7: alternate,
  I8: nothingInIdle,
  I10: flow,
  I11: stale,
  I12: pacing,
  I13: noneHeldUp,
  I14: resumedFirst,
  I15: waitsAreTold,
}

const COMMANDS = [
  'connect',
  'disconnect',
  'reconnect',
  'wake',
  'dispose',
  'send',
  'clearOutbox',
  'watch',
  'unwatch',
  'suspend',
] as const
const PAGE_EVENTS = ['hides', 'shows', 'stays', 'leaves', 'returns', 'freezes', 'goesOffline', 'comesOnline'] as const
/** docs/transports.md: a page that is there so long after `beforeunload` stays, ms. */
const STAYS = 1_000
/** docs/protocol.md: frames that speak to the client, not to the app. */
const CONTROL: readonly unknown[] = ['ping', 'probe', 'reconnected', 'goodbye']
/** What is posted without a key, and waits for `open` like a message. */
const STAND_IN_LINE = ['batch', 'watch', 'unwatch']
/** docs/protocol.md: what is repeated in place, with backoff. */
const MAY_PASS = [0, 408, 425, 429, 500, 502, 503, 504]
/** docs/protocol.md: what a server may ask for is clamped to 5 min. */
const clamp = (ms: number) => Math.min(Math.max(ms, 0), 300_000)

/** docs/protocol.md: as many resumes may a server cause without a pause. */
const MAX_RESUMES = 5

const isLive = ({ isClosed }: TestStream) => !isClosed
const liveOf = (streams: readonly TestStream[]) => streams.find(isLive)
const liveId = (streams: readonly TestStream[]) => liveOf(streams)?.connectionId ?? null
const isStreamless = (phase: string) => phase === 'idle' || phase === 'backoff'
const isResume = ({ endpoint }: TestPost) => endpoint === 'reconnect'
const isOfQueue = ({ key, endpoint }: TestPost) => key !== null || STAND_IN_LINE.includes(endpoint)
const isInFlight = ({ isAborted, isAnswered }: TestPost) => !isAborted && !isAnswered
const isOk = (status: number) => status >= 200 && status < 300
const isFinal = (status: Delivery['status']) => status !== 'queued' && status !== 'sending'

/** What a welcome says that the server does at a suspend. */
function keepsSessions(data: string | undefined): boolean {
  const { features } = Object(parse(data))
  return Array.isArray(features) && features.includes('suspend-keeps')
}

/** The ids of the messages in a POST. */
export function carried({ key, endpoint, body }: TestPost): readonly string[] {
  if (key !== null) return [key]
  return endpoint === 'batch' ? (body.messages as { id: string }[]).map(({ id }) => id) : []
}

/** What an answer says of each message. */
function resultsOf(
  post: TestPost,
  status: number,
  text = '',
): readonly { readonly id: string; readonly status: number; readonly retryAfter?: number }[] {
  if (post.endpoint !== 'batch' || !isOk(status)) return carried(post).map((id) => ({ id, status }))
  const { results } = Object(parse(text))
  return Array.isArray(results) ? results : []
}

function parse(text = ''): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** How long a server asks to wait, ms; `spread` is where the client chooses from. */
interface Wish {
  readonly retryAfter: number
  readonly spread: number
}
const NO_WISH: Wish = { retryAfter: 0, spread: 0 }

function wishOf({ headers }: Answer, now: number): Wish {
  const value = headers['retry-after'] ?? ''
  const retryAfter = /^\d+$/.test(value) ? Number(value) * 1_000 : Math.max(0, Date.parse(value) - now || 0)
  return { retryAfter, spread: retryAfter / 2 }
}

function onSend(connection: Connection, tell: (delivery: Delivery, options?: SendOptions) => void) {
  const { send } = connection
  Object.assign(connection, {
    send(...args: Parameters<typeof send>) {
      const delivery = send(...args)
      tell(delivery, args[1])
      return delivery
    },
  })
}

interface Place {
  readonly delivery: Delivery
  readonly isStop: boolean
}

/** The messages without a verdict, by what they have to stay in order with. A stop is of its session. */
class Lines {
  readonly #lines = new Map<string, Place[]>()
  readonly #names = new Map<string, string>()

  constructor(connection: Connection) {
    onSend(connection, (delivery, options) => {
      const { type, sessionId } = Object(delivery.message)
      const session = JSON.stringify(['session', sessionId])
      const name =
        options?.lane === undefined ? (type === 'switch_session' ? 'switch' : session) : `lane ${options.lane}`
      const line = this.#lines.get(name) ?? []
      this.#lines.set(name, line)
      this.#names.set(delivery.id, name)
      line.push({ delivery, isStop: type === 'stop' && options?.lane === undefined })
    })
  }

  all(): Iterable<readonly Place[]> {
    return this.#lines.values()
  }

  /** That of this message, oldest first. */
  of(id: string): readonly Place[] {
    return this.#lines.get(this.nameOf(id) ?? '') ?? []
  }

  nameOf(id: string): string | undefined {
    return this.#names.get(id)
  }

  isStop(id: string): boolean {
    return this.of(id).some(({ delivery, isStop }) => isStop && delivery.id === id)
  }

  readonly tidy = () => {
    for (const [name, line] of this.#lines) {
      const left = line.filter(({ delivery }) => !isFinal(delivery.status))
      for (const { delivery } of line) if (isFinal(delivery.status)) this.#names.delete(delivery.id)
      if (left.length) this.#lines.set(name, left)
      else this.#lines.delete(name)
    }
  }
}

/** Every message of the app's, those that were restored from a storage too. */
function onDelivery(connection: Connection, tell: (delivery: Delivery) => void) {
  const known = new WeakSet<Delivery>()
  const meet = (delivery: Delivery) => {
    if (!known.has(delivery)) tell(delivery)
    known.add(delivery)
  }
  onSend(connection, meet)
  connection.on('delivery', () => connection.pending.forEach(meet))
}

/** Calls `hook` before each call of these methods. */
function before<Target extends object>(
  target: Target,
  names: readonly (keyof Target)[],
  hook: (...args: never[]) => unknown,
) {
  for (const name of names) {
    const own = target[name] as (...args: unknown[]) => unknown
    const hooked = (...args: unknown[]) => {
      hook(...(args as never[]))
      return own.apply(target, args)
    }
    Object.assign(target, { [name]: hooked })
  }
}
