import { RESERVED_TYPES } from '../../protocol'
import type { Behaviour } from './behaviourChain'
import { sessionsOf, type TestPost, type TestStream } from './network'

/** How often a mishap happens, before the server behaves again. Default: always. */
export interface Times {
  readonly times?: number
}
export interface Failure extends Times {
  readonly status: number
  /** Seconds, as the `Retry-After` header has it. */
  readonly retryAfter?: number
}

/** Nothing goes wrong. It is what the server does anyway. */
export const serverAccepts = (): Behaviour => ({})

/** Nothing is ever answered: the test does it, on `harness.stream` and `harness.post(…)`. */
export const serverIsSilent = (): Behaviour => ({ stream() {}, post() {}, event() {} })

/** A stream that never opens. */
export const streamNeverOpens = ({ times }: Times = {}): Behaviour => {
  const happens = limited(times)
  return { stream: (_, next) => void (happens() || next()) }
}

/**
 * A stream that fails before it opens. `status` is seen only where the EventSource implementation
 * tells it.
 */
export const streamFails = ({ status, times }: Partial<Failure> = {}): Behaviour => {
  const happens = limited(times)
  return { stream: (stream, next) => (happens() ? stream.fails(status) : next()) }
}

/** The stream opens, and that is all. */
export const welcomeNeverComes = ({ times }: Times = {}): Behaviour => {
  const happens = limited(times)
  return { stream: (stream, next) => (happens() ? stream.opens() : next()) }
}

/** The same welcome comes again, at once. */
export const welcomesTwice = ({ times }: Times = {}): Behaviour => {
  const happens = limited(times)
  return {
    stream(stream, next) {
      if (!happens()) return next()
      const welcomes = (frame?: object) => {
        stream.welcomes(frame)
        stream.welcomes(frame)
      }
      next(changed(stream, { welcomes }))
    },
  }
}

/** The stream opens and is welcomed. Nothing else arrives on it, no ping either. */
export const streamGoesSilent = ({ times }: Times = {}): Behaviour => {
  const happens = limited(times)
  return { stream: (stream, next) => next(happens() ? changed(stream, { sends() {} }) : stream) }
}

/** Events do not arrive. They are part of the next replay. */
export const eventsAreLost = ({ times }: Times = {}): Behaviour => {
  const happens = limited(times)
  return { event: (_event, _stream, next) => void (happens() || next()) }
}

/** Each stream is cut instead of its event number `events` + 1. */
export const streamDropsAfter = (events: number, { times }: Times = {}): Behaviour => {
  const happens = limited(times)
  const sent = new WeakMap<object, number>()
  return {
    event(_, stream, next) {
      const count = sent.get(stream) ?? 0
      sent.set(stream, count + 1)
      if (count === events && happens()) stream.fails()
      else next()
    },
  }
}

/** The server ends the stream in order, with the next event. Durations in ms. */
export const saysGoodbye = (
  delay: { retryAfter?: number; spread?: number } = {},
  { times = 1 }: Times = {},
): Behaviour => {
  const happens = limited(times)
  return { event: (_, stream, next) => (happens() ? stream.sends({ type: 'goodbye', ...delay }) : next()) }
}

/** The answer to the resume is an error. */
export const resumeFails = (failure: Failure): Behaviour => fails((endpoint) => endpoint === 'reconnect', failure)

/** The server has taken the resume, and its answer never comes. */
export const resumeNeverAnswered = ({ times }: Times = {}): Behaviour => {
  const happens = limited(times)
  return {
    post: (post, next) => next(post.endpoint === 'reconnect' && happens() ? changed(post, { answers() {} }) : post),
  }
}

/**
 * The server has lost the history of what is resumed or watched: the app is told `reset`.
 * `server.restarts()` leads there too.
 */
export const sessionsAreReset = ({ times }: Times = {}): Behaviour => {
  const happens = limited(times)
  // A cursor that is beyond the head.
  const lost = { lastSeq: Number.MAX_SAFE_INTEGER }
  return {
    post(post, next) {
      if (!asksForSessions(post) || !happens()) return next()
      const { body } = post
      const sessions = sessionsOf(post).map((cursor) => ({ ...cursor, ...lost }))
      next(changed(post, { body: { ...body, ...(post.endpoint === 'watch' ? lost : { sessions }) } }))
    },
  }
}

/** What is resumed or watched does not exist any more: the app is told `gone`. */
export const sessionsAreGone = ({ times }: Times = {}): Behaviour => {
  const happens = limited(times)
  return {
    post(post, next) {
      if (!asksForSessions(post) || !happens()) return next()
      const sessions = sessionsOf(post).map(({ sessionId }) => ({ sessionId, status: 'gone' }))
      const answers = () => post.answers(200, { ok: true, sessions })
      if (post.endpoint === 'watch') answers()
      else next(changed(post, { body: { ...post.body, sessions: [] }, answers }))
    },
  }
}

/** The app's messages are answered with an error, and not applied. */
export const sendFails = (failure: Failure): Behaviour => fails(isOfTheApp, failure)

/** The app's messages never reach the server. */
export const sendsAreLost = ({ times }: Times = {}): Behaviour => {
  const happens = limited(times)
  return { post: (post, next) => (isOfTheApp(post.endpoint) && happens() ? post.fails() : next()) }
}

/** The app's messages are applied, and the answer is lost. */
export const answersAreLost = ({ times }: Times = {}): Behaviour => {
  const happens = limited(times)
  return {
    post: (post, next) =>
      next(isOfTheApp(post.endpoint) && happens() ? changed(post, { answers: () => post.fails() }) : post),
  }
}

/** What is posted arrives `ms` later; `endpoint` limits it to one. */
export const answersLate = (
  ms: number,
  { endpoint, times }: Times & { readonly endpoint?: string } = {},
): Behaviour => {
  const happens = limited(times)
  return {
    post(post, next, { clock }) {
      if ((endpoint === undefined || post.endpoint === endpoint) && happens()) clock.setTimeout(next, ms)
      else next()
    },
  }
}

/** 401, until the request carries this `Authorization`. */
export const wantsAuthorization = (value: string): Behaviour => ({
  post: (post, next) => (post.headers.get('authorization') === value ? next() : post.answers(401)),
})

/** A captive portal: 200, and a page. */
export const answersWithHtml = ({ times }: Times = {}): Behaviour => {
  const happens = limited(times)
  return { post: (post, next) => (happens() ? post.answersText(200, '<html>', 'text/html') : next()) }
}

/** No load balancer is sticky: every POST meets a server that does not know its stream. */
export const forgetsStreams = ({ times }: Times = {}): Behaviour => {
  const happens = limited(times)
  return { post: (post, next) => (happens() ? post.answers(404) : next()) }
}

function fails(concerns: (endpoint: string) => boolean, { status, times, retryAfter }: Failure): Behaviour {
  const happens = limited(times)
  const headers: Record<string, string> = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }
  return {
    post: (post, next) => (concerns(post.endpoint) && happens() ? post.answers(status, {}, headers) : next()),
  }
}

const limited = (times = Number.POSITIVE_INFINITY) => {
  let left = times
  return () => left-- > 0
}

const asksForSessions = ({ endpoint }: TestPost) => endpoint === 'reconnect' || endpoint === 'watch'

const isOfTheApp = (endpoint: string) =>
  endpoint === 'batch' || !(RESERVED_TYPES.includes(endpoint) || ['watch', 'unwatch', 'suspend'].includes(endpoint))

/** The same stream or post, but for some of what it does. */
const changed = <Subject extends TestStream | TestPost>(subject: Subject, changes: Partial<Subject>): Subject =>
  Object.assign(Object.create(subject), changes)
