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
  const isForeign = redirected && new URL(response.url).origin !== new URL(url).origin
  if (!isForeign && /^text\/event-stream\b/i.test(type)) return
  const why = isForeign ? `redirected to ${response.url}` : `${type}, not text/event-stream`
  throw new ConnectionError('stream-failed', why, { status: 200 })
}

/**
 * `eventsource-parser` keeps a CR at the end of a chunk back, as it may be half of a CRLF, and with it the event that it ends.
 * [spec] HTML, server-sent events: a CR alone ends a line. So that CRLF is completed at once, and the LF that may follow is dropped.
 */
export function completeLines(): (bytes: Uint8Array) => Uint8Array {
  let isHalf = false
  return (bytes) => {
    const rest = isHalf && bytes[0] === LF ? bytes.subarray(1) : bytes
    if (bytes.length) isHalf = bytes.at(-1) === CR
    if (!isHalf || !rest.length) return rest
    const whole = new Uint8Array(rest.length + 1)
    whole.set(rest)
    whole[rest.length] = LF
    return whole
  }
}
