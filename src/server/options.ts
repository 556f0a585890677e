import type { JsonObject } from '../protocol'
import type { AnyMessages, Commands, IsUntyped, Messages, OwnType, Protocol } from '../protocol/define/types'
import { checkFunction, checkMethods, checkNames, checkNumber, MAX_TIMER } from './check'
import { type Clock, wallClock } from './clock'
import { Contract } from './contract'
import { endpointsOf, resolveEndpoints, resolveQueries } from './endpoints'
import { guardHooks } from './hooks'
import { resolveLimits, type ServerLimits } from './limits/limits'
import { memoryLog } from './log/memoryLog'
import type { LogEntry, MaybePromise, SessionLog } from './log/sessionLog'
import type { Metric } from './metrics'
import type { Publish } from './publish'
import { checkHeaders, checkHosts, checkOrigins } from './request/origins'
import type { Principal } from './request/principal'

export interface CommandCall<P extends Principal = Principal> {
  readonly principal: P
  /** The message's `type`. Its endpoint is the one that was posted to. */
  readonly type: string
  /** The message's session, for which `principal` may `write`; `undefined` if it names none. */
  readonly sessionId: string | undefined
  /**
   * The message as it was posted: a JSON object. Nothing else about it has been checked, unless
   * the `protocol` has schemas; then it is what they make of it.
   */
  readonly message: JsonObject
  readonly connectionId: string
  /**
   * The `Idempotency-Key` of the message, which is its id at the client. Where a client of your own
   * sends none, a random one, so a repeat of such a message is another one.
   */
  readonly idempotencyKey: string
  /**
   * As the server's, and safe to repeat: if this command did not get to its end (the process died,
   * `onCommand` threw) and is run again, here or in another process, the nth event that it
   * publishes to a session is the one that was published before, and is not appended again. Once
   * the command has returned there are no repeats, and the server's does the same.
   */
  publish<E extends { readonly type: string }>(sessionId: string, event: E): Promise<LogEntry>
}

/** A call for each message of a shared `protocol`: its `type` tells them apart. */
export type CommandOf<P extends Principal, Wire extends Messages, App extends Messages = Wire> =
  IsUntyped<Wire> extends true
    ? CommandCall<P>
    : {
        readonly [Type in keyof Commands<App>]: Omit<CommandCall<P>, 'type' | 'sessionId' | 'message' | 'publish'> & {
          readonly type: Type
          readonly sessionId: Commands<App>[Type] extends { readonly sessionId: string } ? string : string | undefined
          readonly message: Commands<App>[Type]
          readonly publish: Publish<Wire>
        }
      }[keyof Commands<App>]

export interface SuspendCall<P extends Principal = Principal> {
  readonly principal: P
  readonly connectionId: string
  /** How far the client has got; only sessions that its stream is attached to. */
  readonly sessions: readonly { readonly sessionId: string; readonly lastSeq: number; readonly epoch?: string }[]
}

export interface ChatServerOptions<
  P extends Principal = Principal,
  Wire extends Messages = AnyMessages,
  App extends Messages = Wire,
> {
  /**
   * The message types of your app, shared with the client: what `defineProtocol` of
   * `holdline/protocol` returns, or a plain object of the type `Protocol`. With schemas, a command
   * that does not fit is answered 400 (`bad-message`, with the `issues`), an event that does not
   * fit is not published, and a receipt that does not fit is told to `onError` and answered as
   * `null`. Default: none, so nothing is checked.
   */
  readonly protocol?: Protocol<Wire, App>
  /** Default: `memoryLog()`. */
  readonly log?: SessionLog
  /**
   * Tells who makes this request; `null` answers 401. Asked for every request, but not again for a
   * stream that is open: a credential that runs out ends it after `limits.streamAge`, or with
   * `revoke`. It must not read the body. `id` is a string of 1 to 1,024 characters; streams and
   * idempotency keys are bound to it, so it must never be shared by two people.
   */
  authenticate(request: Request): MaybePromise<P | null>
  /**
   * May they read (replay, live events) or write (commands) this session? Asked before the log is
   * touched. Anything but `true` means no; `'gone'` tells the client that the session does not
   * exist any more. About what is attached it is asked again every `limits.reauthorize` ms, when
   * the client suspends, and when a command was refused: a no ends the stream, and the client hears
   * `forbidden` or `gone` when it resumes. If it throws then, or takes 10 s, the session stays
   * attached, three times in a row at most. `revoke` does not wait for that.
   */
  authorize(principal: P, sessionId: string, action: 'read' | 'write'): MaybePromise<boolean | 'gone'>
  /**
   * Applies a command. What it returns is the receipt, answered as JSON (`undefined` as `null`).
   * Commands of one session run one after the other, a `stop` too, and those of one lane, so return
   * as soon as the command is taken on, and publish what comes of it later. Throw `CommandRejected`
   * to turn it down for good. Any other error answers 500 without its text; the client repeats the
   * command, and it is run again.
   */
  onCommand(call: CommandOf<P, Wire, App>): unknown
  /** The client's page is going to sleep, or away. Default: nothing. */
  onSuspend?(call: SuspendCall<P>): unknown
  /**
   * Something unexpected was thrown, and the client was told no more than `internal`; or `publish`
   * has failed, whether it is awaited or not; or a request was refused for a setting (`origin`,
   * `host`, `body-consumed`), each such sentence once. Default: the console.
   */
  onError?(error: unknown): unknown
  /**
   * Is told of events in this process as numbers: `METRICS` says what each one counts. Called
   * often, so be quick. Default: nothing.
   */
  onMetric?(metric: Metric): unknown
  /**
   * Distance of the `ping`s on a stream with nothing else to say, ms. Default: 8,000, because hosts
   * and proxies cut what is quiet for 10 s.
   */
  readonly heartbeat?: number
  /**
   * The complete list of the origins that browsers may call from, e.g. `['https://app.example']`;
   * they get CORS headers with credentials. Others are refused with 403, requests without an
   * `Origin` are not affected. Default: the origin that the server itself is called at, told by
   * `Sec-Fetch-Site` or, where the browser sends none, by `Host`.
   */
  readonly allowedOrigins?: readonly string[]
  /**
   * The names that this server is called by, without ports, e.g. `['chat.example']`; a request for
   * another one is refused with
   * 403. It stops DNS rebinding: a page whose own name was pointed at this server. Default: any,
   *      with one `console.warn` outside
   * loopback unless `allowedOrigins` is given; `'any'` says that it is meant.
   */
  readonly allowedHosts?: readonly string[] | 'any'
  /**
   * Further headers that pages of `allowedOrigins` may send, e.g. `['traceparent']`. Default: none
   * but the protocol's own.
   */
  readonly allowedHeaders?: readonly string[]
  /**
   * Take `X-Forwarded-Host` for the host. Only behind a proxy that always sets it. Default: false.
   */
  readonly trustProxy?: boolean
  readonly limits?: ServerLimits
  /**
   * Further commands: message `type` → endpoint. Not beside a `protocol`, which has them. Default:
   * none but the wire protocol's own.
   */
  readonly endpoints?: Readonly<Record<string, string>>
  /**
   * Types of `endpoints`, or of your own in `protocol`, that only ask. `onCommand` answers them as
   * any other, but `authorize` is asked for `read`, the session is not attached to the sender's
   * stream, they wait for no other command, and no outcome is kept: a repeat asks anew. Default:
   * none.
   */
  readonly queries?: readonly (IsUntyped<Wire> extends true ? string : OwnType<Wire>)[]
  /** Default: the wall clock and the global timers. */
  readonly clock?: Clock
  /** From 0 to 1, spreads the age of the streams. Default: `Math.random`. */
  readonly random?: () => number
}

const OPTIONS = [
  'log',
  'authenticate',
  'authorize',
  'onCommand',
  'onSuspend',
  'onError',
  'onMetric',
  'heartbeat',
  'allowedOrigins',
  'allowedHosts',
  'allowedHeaders',
  'trustProxy',
  'limits',
  'protocol',
  'endpoints',
  'queries',
  'clock',
  'random',
]

/**
 * The options, checked and complete. @throws TypeError naming the option that is invalid or unknown
 */
export function resolveOptions<P extends Principal>(options: ChatServerOptions<P>) {
  checkNames('createChatServer', options, OPTIONS)
  for (const name of ['authenticate', 'authorize', 'onCommand'] as const) checkFunction(name, options[name])
  const { clock = wallClock, random = Math.random, heartbeat = 8_000, onSuspend = () => {} } = options
  const { allowedOrigins, allowedHosts, allowedHeaders = [], trustProxy = false } = options
  for (const name of ['onError', 'onMetric', 'onSuspend'] as const) {
    if (options[name] !== undefined) checkFunction(name, options[name])
  }
  checkFunction('random', random)
  checkMethods('clock', clock, ['now', 'setTimeout', 'clearTimeout'])
  const endpoints = endpointsOf(options)
  const log = options.log ?? memoryLog({ clock })
  checkMethods('log', log, ['append', 'read', 'head', 'subscribe'])
  checkNumber('heartbeat', heartbeat, { max: MAX_TIMER })
  if (allowedOrigins !== undefined) checkOrigins(allowedOrigins)
  if (allowedHosts !== undefined && allowedHosts !== 'any') checkHosts(allowedHosts)
  checkHeaders(allowedHeaders)
  if (typeof trustProxy !== 'boolean') throw new TypeError("'trustProxy' must be a boolean")
  return {
    ...options,
    ...guardHooks(options),
    clock,
    random,
    heartbeat,
    allowedOrigins,
    allowedHosts,
    allowedHeaders,
    trustProxy,
    onSuspend,
    log,
    limits: resolveLimits(options.limits),
    contract: new Contract(options.protocol),
    typeEndpoints: resolveEndpoints(endpoints),
    queries: resolveQueries({ endpoints: endpoints ?? {}, queries: options.queries ?? [] }),
  }
}

export type ResolvedOptions<P extends Principal> = ReturnType<typeof resolveOptions<P>>
