import { isText, LANE, MAX_BATCH_MESSAGES, MESSAGE_ID, parseJson } from '../../protocol'
import { asksToWait } from '../../protocol/status'
import { checkRequest } from '../request/checkRequest'
import { labelsOf, type membersOf } from '../request/json'

/** The fields of an `ack` besides its id. */
export interface FrameAnswer {
  readonly status: number
  readonly receipt?: unknown
  readonly error?: unknown
  /** The error, in a sentence. */
  readonly message?: unknown
  /** ms, like every time in a frame. */
  readonly retryAfter?: number | undefined
}

/** Headers that concern the upgrade itself. */
const OF_THE_UPGRADE = /^(connection|upgrade|keep-alive|te|trailer|transfer-encoding|(content|proxy|sec-websocket)-.*)$/

/**
 * The headers of a hello that are allowed, overridden by those of the upgrade. `undefined` if they
 * are no headers.
 */
export function toHeaders(hello: unknown, allowed: ReadonlySet<string>, upgrade: Headers): Headers | undefined {
  const headers = new Headers()
  try {
    for (const [name, value] of Object.entries(Object(hello))) {
      if (allowed.has(name.toLowerCase())) headers.set(name, String(value))
    }
  } catch {
    return undefined
  }
  for (const [name, value] of upgrade) if (!OF_THE_UPGRADE.test(name)) headers.set(name, value)
  return headers
}

export interface Upgrade {
  readonly url: string
  readonly headers: Headers
  /** The memory that both take, bytes. */
  readonly weight: number
}

/** Before it is closed. */
export function readUpgrade(request: Request): Upgrade {
  checkRequest('accept', request, 'make one of it, as for the ws package')
  try {
    const headers = new Headers(request.headers)
    const chars = [request.url, ...[...headers].flat()].reduce((sum, text) => sum + text.length, 0)
    return { url: request.url, headers, weight: 2 * chars }
  } catch (cause) {
    const message =
      'accept: the request of the upgrade cannot be read any more; copy it before the upgrade, with new Request(request)'
    throw new TypeError(message, { cause })
  }
}

export async function toAnswer(response: Response): Promise<FrameAnswer> {
  const { ok, status } = response
  const json = parseJson(await response.text())
  if (ok) return { status, receipt: json }
  const { error, message } = Object(json)
  return { status, error, message, retryAfter: retryAfterOf(response) }
}

/**
 * Why a stream was not opened, as the arguments of a close: 4000 and the status, since WebKit hides
 * 1012 and 1013. The reason is when to come back, or the `error`. [spec] RFC 6455 §5.5: at most 123
 * bytes.
 */
export async function toClose(response: Response): Promise<[code: number, reason?: string]> {
  const { status } = response
  if (status < 300 && status !== 204) return [1011]
  const { error } = await toAnswer(response)
  const reason = asksToWait(status) ? String(retryAfterOf(response) ?? '') : error
  return [4_000 + status, isText(reason) && /^[ -~]{0,123}$/.test(reason) ? reason : '']
}

function retryAfterOf({ headers }: Response): number | undefined {
  const seconds = headers.get('Retry-After')
  return seconds && /^\d+$/.test(seconds) ? Number(seconds) * 1_000 : undefined
}

const DATA = 'data: '
const isData = (line: string) => line.startsWith(DATA)

/** The data of the frames in an event stream of ours, chunk by chunk. Each is one line of JSON. */
export async function* readFrames(reader: ReadableStreamDefaultReader<Uint8Array>): AsyncGenerator<readonly string[]> {
  const decoder = new TextDecoder()
  let text = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    const frames = (text + decoder.decode(value, { stream: true })).split('\n\n')
    text = frames.pop() ?? ''
    yield frames.flatMap((frame) => frame.split('\n').filter(isData)).map((line) => line.slice(DATA.length))
  }
}

export type Members = NonNullable<ReturnType<typeof membersOf>>

/**
 * Characters of JSON: an id has 255 at most, and a lane 256 that may be two each, each of them
 * perhaps escaped.
 */
const MAX_NAME = 4_096

/** The text of a member; '' if it is none, or longer than any name. */
export const textOf = (members: Members | undefined, name: string): string => toText(members?.get(name))

function toText(json = ''): string {
  const text = json.length <= MAX_NAME ? parseJson(json) : undefined
  return isText(text) ? text : ''
}

/** Undefined if it names none; null if that is no name. */
export function laneOf(json: string | undefined): string | undefined | null {
  if (json === undefined) return undefined
  const lane = json.length <= MAX_NAME ? parseJson(json) : undefined
  return isText(lane) && LANE.test(lane) ? lane : null
}

/** The ids of a batch, by their lanes. What is no id is not kept. */
export function lanesOf(batch: string): ReadonlyMap<string | undefined, readonly string[]> {
  const lanes = new Map<string | undefined, string[]>()
  let count = 0
  for (const { id: json, lane } of labelsOf(batch)) {
    if (++count > MAX_BATCH_MESSAGES) break
    const id = toText(json)
    const name = laneOf(lane) ?? undefined
    const ids = lanes.get(name) ?? []
    lanes.set(name, MESSAGE_ID.test(id) ? [...ids, id] : ids)
  }
  return lanes.size > 0 ? lanes : new Map([[undefined, []]])
}
