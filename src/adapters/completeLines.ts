const LF = 10
const CR = 13

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
