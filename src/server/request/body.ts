import { isObject, type JsonObject, parseJson } from '../../protocol'
import type { Timers } from '../clock'
import { badRequest, Misconfiguration, Refusal, tooMany } from '../errors'
import type { Account } from '../limits/budget'
import { PART_WEIGHT, textWeight } from '../limits/weights'
import { isTooDeep } from './json'

export interface BodyLimits {
  readonly bytes: number
  /** For the whole body, ms. */
  readonly timeout: number
  readonly depth: number
}

/**
 * How much of a refused body is read and thrown away: as much as a client's whole outbox holds,
 * bytes.
 */
const MAX_DISCARDED = 4_194_304

/**
 * The text of the request's body: parsed it may be twenty times as large, and it may have to wait.
 * What is held of it is on `account`. Refused are a media type other than JSON (415), what is too
 * large (413), late (408), cut off, no UTF-8 or nested too deep (400), and what there is no room
 * for (429).
 */
export async function readBody(request: Request, limits: BodyLimits, clock: Timers, account: Account): Promise<string> {
  if (!/^application\/json\s*(;|$)/i.test(request.headers.get('Content-Type') ?? '')) {
    throw new Refusal(415, 'unsupported-media-type')
  }
  if (Number(request.headers.get('Content-Length')) > limits.bytes) throw new Refusal(413, 'too-large')
  const text = await readText(request, limits, clock, account)
  if (isTooDeep(text, limits.depth)) throw new Refusal(400, 'too-deep')
  return text
}

/** @throws Refusal 400 if it is no JSON object */
export function parseMessage(text: string): JsonObject {
  const message = parseJson(text)
  if (isObject(message)) return message
  throw text === '[object Object]' ? alreadyParsed() : badRequest('the body must be a JSON object')
}

/** Counts while it reads, because `Content-Length` may be missing or wrong. */
async function readText(
  request: Request,
  { bytes: max, timeout }: BodyLimits,
  clock: Timers,
  account: Account,
): Promise<string> {
  const { headers } = request
  if (request.bodyUsed || request.body?.locked) throw alreadyRead()
  // Firefox, where a service worker may be the server, has no `Request.prototype.body`.
  const body = request.body === undefined ? (await request.blob()).stream() : request.body
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let text = ''
  let bytes = 0
  let held = 0
  const take = (part: Uint8Array) => {
    bytes += part.byteLength
    const more = part.byteLength + PART_WEIGHT
    if (bytes > max || !account.take(more)) return false
    held += more
    text += decoder.decode(part, { stream: true })
    return true
  }
  const ending = await readParts(body, timeout, clock, take)
  if (ending === 'stopped') throw bytes > max ? new Refusal(413, 'too-large') : tooMany()
  // It holds up nothing but itself: a command takes its turn when its body is here.
  if (ending === 'late') throw new Refusal(408, 'body-timeout')
  if (
    ending === 'ended' &&
    bytes === 0 &&
    (Number(headers.get('Content-Length')) > 0 || headers.has('Transfer-Encoding'))
  )
    throw alreadyRead()
  // Cut off, or not UTF-8. Nobody but this client is to blame, so it is not an internal error.
  if (ending === 'failed' || !isEndOfText(decoder)) throw badRequest('the body must be complete, and UTF-8')
  account.give(held)
  if (!account.take(textWeight(text))) throw tooMany()
  return text
}

function isEndOfText(decoder: TextDecoder): boolean {
  try {
    return decoder.decode() === ''
  } catch {
    return false
  }
}

/**
 * Reads and discards what is left of a refused body. Else the host closes the connection in the
 * middle of it, the answer is lost in a reset (behind nginx, one in ten), and the client repeats
 * what was refused for good.
 */
export async function discardBody({ body }: Request, timeout: number, clock: Timers): Promise<void> {
  // Locked: it was late already.
  if (!body || body.locked) return
  let bytes = 0
  const ending = await readParts(body, timeout, clock, (part) => {
    bytes += part.byteLength
    return bytes <= MAX_DISCARDED
  })
  if (ending === 'stopped') body.cancel().catch(() => {})
}

type Ending = 'ended' | 'stopped' | 'late' | 'failed'

/**
 * Until `take` says no; the rest can be read on. One that is late is given up: it is cancelled, and
 * stays locked.
 */
async function readParts(
  body: Request['body'],
  timeout: number,
  clock: Timers,
  take: (part: Uint8Array) => boolean,
): Promise<Ending> {
  if (!body) return 'ended'
  const reader = body.getReader()
  let ending: Ending | undefined
  // Not a promise that each read races with: it would remember all of them.
  const timer = clock.setTimeout(() => {
    ending = 'late'
    reader.cancel().catch(() => {})
  }, timeout)
  try {
    while (!ending) {
      const { done, value } = await reader.read()
      if (done) ending ??= 'ended'
      else if (!take(value)) ending ??= 'stopped'
    }
  } catch {
    ending ??= 'failed'
  }
  clock.clearTimeout(timer)
  if (ending !== 'late') reader.releaseLock()
  return ending
}

const alreadyRead = () =>
  new Misconfiguration(
    500,
    'body-consumed',
    'The body of this POST had been read before holdline saw it: mount the chat before express.json() or whatever parses bodies, ' +
      'or by toNodeListener of holdline/server/node, which takes the request.body that a parser leaves (docs/hosts.md)',
  )

const alreadyParsed = () =>
  new Misconfiguration(
    500,
    'body-consumed',
    "The body of this POST is '[object Object]': hand JSON.stringify(body) to the Request (docs/hosts.md)",
  )
