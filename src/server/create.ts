import type { AnyMessages, IsUntyped, Logged, Messages } from '../protocol/define/types'
import { checkNames, checkNumber } from './check'
import { CommandDesk } from './command/commandDesk'
import { Commands } from './command/commands'
import { Lanes } from './command/lanes'
import { Receipts } from './command/receipts'
import { ControlDesk } from './control'
import { Refusal } from './errors'
import { Budget, Budgets } from './limits/budget'
import { Pacer } from './limits/pacer'
import { TokenBuckets } from './limits/tokenBuckets'
import type { LogEntry, SessionEvent, SessionHead } from './log/sessionLog'
import { type ChatServerOptions, type ResolvedOptions, resolveOptions } from './options'
import { withParts } from './parts'
import { Posts } from './post'
import { createPublisher, type Publish } from './publish'
import { isSessionId, SESSION_ID_RULE } from './request/cursors'
import { Origins } from './request/origins'
import { checkPrincipalId, identify, type Principal } from './request/principal'
import { Resumer } from './resume'
import { Router } from './router'
import { Authority } from './stream/authority'
import { StreamOpener } from './stream/streamOpener'
import { Streams } from './stream/streams'

export interface ChatServer<Wire extends Messages = AnyMessages> {
  /**
   * Answers a request. Mount it anywhere: the last segment of the path names the endpoint. It needs
   * no `this`, so it can be handed as it is to a host that speaks web-standard `Request` and
   * `Response`. It rejects only with a TypeError that says so, where it is given something else,
   * such as Node's IncomingMessage.
   */
  fetch(request: Request): Promise<Response>
  /**
   * Appends an event to a session; every stream that is attached to it gets it, as `{ ...event,
   * sessionId, seq, epoch }`. The event is copied as JSON. Rejects with a `ProtocolError` if it
   * does not fit the `protocol`; with a TypeError if the session id or the event is not valid
   * (JSON, at most 128 levels deep and `limits.eventBytes` long), or if the event's `type` is one
   * of the protocol's own; and with whatever the log rejects with. `onError` is told too, so it
   * need not be awaited: an unhandled rejection of it does not end the process.
   */
  readonly publish: Publish<Wire>
  /**
   * How far a session reaches: with it as a cursor, a client follows from now on. Asking creates
   * nothing. Rejects with a TypeError if the session id is not valid, and with whatever the log
   * rejects with.
   */
  head(sessionId: string): Promise<SessionHead>
  /**
   * The events of a session after `after`, oldest first, at most `limit`: as `read` of the log,
   * with the types of the `protocol`. Fewer than `limit` means that there are no more now; events
   * that the log does not have any more are left out. Reading creates nothing. Rejects with a
   * TypeError if an argument is not valid, and with whatever the log rejects with.
   *
   * @param after default: 0, so from the first one that is kept
   * @param limit default: 500
   */
  read(
    sessionId: string,
    after?: number,
    limit?: number,
  ): Promise<readonly LogEntry<IsUntyped<Wire> extends true ? SessionEvent : Logged<Wire>>[]>
  /**
   * Ends what a principal may no longer read, in all processes: every stream of theirs that is
   * attached to the session or, without one, every stream of theirs. The clients come back, and are
   * told what `authenticate` and `authorize` answer then: 401, `forbidden` or `gone`. So change
   * what those two answer first. Resolves when the streams of this process have ended and, with a
   * log that several share, the log has it for the others; they follow at once or, after a lost
   * connection, within 10 s.
   *
   * Rejects with a TypeError if an id is not valid, and with whatever the log rejects with; then
   * only this process has ended its streams. `onError` is told too, so it need not be awaited.
   */
  revoke(principalId: string, sessionId?: string): Promise<void>
  /**
   * Drains: says goodbye on every stream and ends it; from now on every request is answered 503,
   * with `Retry-After`, and so is each command that waits for its turn. Resolves when the commands
   * that were running have ended. `publish` keeps working: the log is not closed.
   *
   * @throws TypeError (rejected) naming the option, if one is invalid or unknown
   */
  close(options?: CloseOptions): Promise<void>
}

export interface CloseOptions {
  /** How long clients wait at least before they come back, ms. Default: 1,000. */
  readonly retryAfter?: number
  /**
   * Over how long they spread beyond that, ms: at least the number of this process's streams
   * divided by what the others accept in a second. At most 300,000 (clients wait no longer).
   * Default: 5,000.
   */
  readonly spread?: number
}

/** Clients wait no longer, whatever they are told. ms. */
const MAX_WAIT = 300_000
/** ms. */
const HOUR = 3_600_000
/** How long a principal may save up what was not replayed to it, and what it did not post, ms. */
const REPLAY_SAVED = 1_000
const BODY_SAVED = 125

/**
 * The server half: `GET …/events` down, `POST …/{endpoint}` up. Nothing but Web standards, so any
 * host that speaks `fetch(request)` can run it.
 *
 * @throws TypeError naming the option, if one is invalid or unknown
 */
export function createChatServer<P extends Principal, Wire extends Messages = AnyMessages, App extends Messages = Wire>(
  options: ChatServerOptions<P, Wire, App>,
): ChatServer<Wire> {
  const resolved = resolveOptions(options as unknown as ChatServerOptions<P>)
  const { log, clock, contract, limits, onMetric, onError } = resolved
  const { router, publisher, streams, authority, commands, gate } = assemble(resolved)

  const server: ChatServer<Wire> = {
    fetch: (request) => router.fetch(request),

    publish: publisher.publish as Publish<Wire>,

    async head(sessionId) {
      if (!isSessionId(sessionId)) throw new TypeError(`head: the session id ${SESSION_ID_RULE}`)
      return log.head(sessionId)
    },

    async read(sessionId, after = 0, limit = 500) {
      if (!isSessionId(sessionId)) throw new TypeError(`read: the session id ${SESSION_ID_RULE}`)
      checkNumber('after', after, { integer: true, min: 0 })
      checkNumber('limit', limit, { integer: true })
      return log.read(sessionId, after, limit) as Promise<never>
    },

    revoke(principalId, sessionId) {
      const revoking = revoke({ streams, authority }, principalId, sessionId)
      // As with `publish`: an unhandled rejection ends the process.
      revoking.catch(onError)
      return revoking
    },

    async close(options = {}) {
      checkNames('close', options, ['retryAfter', 'spread'])
      const goodbye = { retryAfter: 1_000, spread: 5_000, ...options }
      for (const [name, value] of Object.entries(goodbye)) checkNumber(name, value, { min: 0, max: MAX_WAIT })
      gate.isClosed = true
      for (const { stream } of streams.all()) stream.end(goodbye)
      await commands.close()
      await streams.cluster?.leave().catch(onError)
    },
  }
  return withParts(server, { log, clock, contract, limits, onMetric, onError, isClosed: () => gate.isClosed })
}

async function revoke<P extends Principal>(
  { streams, authority }: { readonly streams: Streams; readonly authority: Authority<P> },
  principalId: string,
  sessionId: string | undefined,
): Promise<void> {
  checkPrincipalId('revoke', principalId)
  if (sessionId !== undefined && !isSessionId(sessionId))
    throw new TypeError(`revoke: the session id ${SESSION_ID_RULE}`)
  authority.apply(principalId, sessionId)
  await streams.cluster?.revoke(principalId, sessionId)
}

/** The parts of a server, tied together. */
function assemble<P extends Principal>(resolved: ResolvedOptions<P>) {
  const { clock, random, authenticate, authorize, limits, onError } = resolved
  const gate = new Gate()
  const budgets = new Budgets(limits.memory)
  /**
   * The account of requests that are not authenticated yet, and of refused ones. No principal has
   * this id.
   */
  const strangers = budgets.of('')
  const streams = new Streams({ ...resolved, onRevoked: (...right) => authority.apply(...right) })
  const authority = new Authority<P>({
    authorize,
    streamsOf: (principalId) => streams.of(principalId),
    interval: limits.reauthorize,
    clock,
    random,
    onError,
  })
  const receipts = new Receipts({ ...limits, budgets, clock, onError })
  const commands = new Commands({ budgets, receipts, shared: streams.cluster, onError })
  const publisher = createPublisher({ ...resolved, maxBytes: limits.eventBytes })
  const pacer = new Pacer({ rate: limits.replayRate, saved: REPLAY_SAVED, clock })
  const parts = {
    ...resolved,
    streams,
    authority,
    budgets,
    pacer,
    identify: (request: Request) => identify(request, authenticate, strangers),
    refuseIfClosed: () => gate.check(),
    streamOf({ id }: P, connectionId: unknown) {
      gate.check()
      return streams.find(id, connectionId)
    },
  }
  const control = new ControlDesk<P>({ ...parts, resumer: new Resumer<P>(parts) })
  const newSessions = new TokenBuckets({ perMs: limits.newSessions / HOUR, full: limits.newSessions, clock })
  const desk = new CommandDesk<P>({
    ...parts,
    lanes: new Lanes(),
    commands,
    newSessions,
    publishOnce: publisher.publishOnce,
  })
  const router = new Router<P>({
    ...parts,
    origins: new Origins(resolved),
    opener: new StreamOpener<P>({ ...parts, receiptAge: receipts.minAge }),
    posts: new Posts<P>({
      ...parts,
      control,
      desk,
      pace: new Pacer({ rate: limits.bodyRate, saved: BODY_SAVED, clock }),
    }),
    refused: new Budget(budgets.share / 2, strangers),
  })
  return { router, publisher, streams, authority, commands, gate }
}

/** Whether the server still takes requests. */
class Gate {
  isClosed = false

  /** @throws Refusal 503 once the server is closed */
  check() {
    if (this.isClosed) throw new Refusal(503, 'unavailable', { 'Retry-After': '5' })
  }
}
