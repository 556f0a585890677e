import { ConnectionError } from '../errors'
import { readRefusal } from './streamRefusal'

const LF = 10
const CR = 13

/**
 * Rejects if the answer is no stream from the origin that was asked.
 * [spec] HTML, server-sent events: anything but 200 and `text/event-stream` is a failure.
 */
export async function expectStream(response: Response, url: string, now: number): Promise<void> {
  if (response.status !== 200) throw await readRefusal(response, now)
  const { redirected, headers } = response
  const type = headers.get('content-type') ?? 'nothing'
  // A `fetch` of an app's own may ask another server, and that is no redirect.
  const isForeign = redirected && new URL(response.url).origin !== new URL(url).origin
  if (!isForeign && /^text\/event-stream\b/i.test(type)) return
  const [address] = String(response.url).split(/[?#]/)
  throw redirected
    ? new ConnectionError('redirected', `GET events: redirected to ${address}; log in, or correct \`url\``, {
        status: 200,
      })
    : new ConnectionError('stream-failed', `GET events: ${type}, not text/event-stream`, { status: 200 })
}

/**
 * Throws where an event is longer than `maxBytes`: no parser would say so before it has it all.
 *
 * `eventsource-parser` keeps a CR at the end of a chunk back, as it may be half of a CRLF, and with
 * it the event that it ends.
 * [spec] HTML, server-sent events: a CR alone ends a line. So that CRLF is completed at once, and
 * the LF that may follow is dropped.
 */
export function completeLines(maxBytes: number): (bytes: Uint8Array) => Uint8Array {
  let isHalf = false
  let last = 0
  let size = 0
  return (bytes) => {
    const end = endOfEvent(bytes, last)
    size = end ? bytes.length - end : size + bytes.length
    last = bytes.at(-1) ?? last
    if (size > maxBytes)
      throw new ConnectionError('stream-failed', `an event has more than ${maxBytes} bytes (inbound.maxBytes)`)
    const rest = isHalf && bytes[0] === LF ? bytes.subarray(1) : bytes
    if (bytes.length) isHalf = bytes.at(-1) === CR
    if (!isHalf || !rest.length) return rest
    const whole = new Uint8Array(rest.length + 1)
    whole.set(rest)
    whole[rest.length] = LF
    return whole
  }
}

const isEnd = (byte: number | undefined) => byte === LF || byte === CR

/**
 * Behind the last empty line; 0 if there is none. Whole events end with one, so it is found at
 * once. `last` came before.
 */
function endOfEvent(bytes: Uint8Array, last: number): number {
  for (let end = bytes.length; end > 0; end--) {
    if (!isEnd(bytes[end - 1])) continue
    const isPair = bytes[end - 1] === LF && (end > 1 ? bytes[end - 2] : last) === CR
    const at = end - (isPair ? 3 : 2)
    if (isEnd(at === -1 ? last : bytes[at])) return end
  }
  return 0
}
