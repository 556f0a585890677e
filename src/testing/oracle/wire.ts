import type { Answer, TestPost, TestStream } from '../harness/network'

/** docs/protocol.md: frames that speak to the client, not to the app. */
export const CONTROL: readonly unknown[] = ['ping', 'probe', 'reconnected', 'goodbye']
/** Posted without a key; they wait for `open` like a message. */
const STAND_IN_LINE = ['batch', 'watch', 'unwatch']
/** docs/protocol.md: a wait that a server asks for is clamped to 5 min. */
export const clamp = (ms: number) => Math.min(Math.max(ms, 0), 300_000)

export const isLive = ({ isClosed }: TestStream) => !isClosed
export const liveOf = (streams: readonly TestStream[]) => streams.find(isLive)
export const liveId = (streams: readonly TestStream[]) => liveOf(streams)?.connectionId ?? null
export const isResume = ({ endpoint }: TestPost) => endpoint === 'reconnect'
export const isOfQueue = ({ key, endpoint }: TestPost) => key !== null || STAND_IN_LINE.includes(endpoint)
export const isInFlight = ({ isAborted, isAnswered }: TestPost) => !isAborted && !isAnswered
export const isOk = (status: number) => status >= 200 && status < 300

/** Does the server of this welcome keep the sessions at a suspend? */
export function keepsSessions(data: string | undefined): boolean {
  const { features } = Object(parse(data))
  return Array.isArray(features) && features.includes('suspend-keeps')
}

/** The ids of the messages in a POST. */
export function carried({ key, endpoint, body }: TestPost): readonly string[] {
  if (key !== null) return [key]
  return endpoint === 'batch' ? (body.messages as { id: string }[]).map(({ id }) => id) : []
}

interface Result {
  readonly id: string
  readonly status: number
  /** ms. */
  readonly retryAfter?: number
}

/** The answer to each message of a POST. */
export function resultsOf(post: TestPost, status: number, text = ''): readonly Result[] {
  if (post.endpoint !== 'batch' || !isOk(status)) return carried(post).map((id) => ({ id, status }))
  const { results } = Object(parse(text))
  return Array.isArray(results) ? results : []
}

export function parse(text = ''): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** How long a server asks to wait, ms; the client chooses up to `spread` more. */
export interface Wish {
  readonly retryAfter: number
  readonly spread: number
}
export const NO_WISH: Wish = { retryAfter: 0, spread: 0 }

export function wishOf({ headers }: Answer, now: number): Wish {
  const value = headers['retry-after'] ?? ''
  const retryAfter = /^\d+$/.test(value) ? Number(value) * 1_000 : Math.max(0, Date.parse(value) - now || 0)
  return { retryAfter, spread: retryAfter / 2 }
}
/** The longest that a client waits for it, ms. */
export const longest = (ms: number) => 1.5 * clamp(ms)
