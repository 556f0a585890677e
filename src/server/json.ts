/**
 * How deep the JSON of a command, a receipt or an event may be nested. `JSON.stringify`, `structuredClone` and everything else that
 * walks a value by recursion throws somewhere between 2,000 and 6,000 levels; people nest 30.
 */
export const MAX_DEPTH = 128
/** `{"messages":[{"body":…}]}`: a message may be as deep in a batch as it may be alone. */
export const BATCH_DEPTH = MAX_DEPTH + 3
/** A frame of a WebSocket is one level around either. */
export const FRAME_DEPTH = BATCH_DEPTH + 1

/** Told from the text, before anything that recurses touches the value. */
export function isTooDeep(json: string, max = MAX_DEPTH): boolean {
  // Each level takes two characters.
  if (json.length <= 2 * max) return false
  let depth = 0
  for (let at = 0; at < json.length; at += 1) {
    switch (json.charCodeAt(at)) {
      case 0x22: // "
        at = endOfString(json, at)
        break
      case 0x5b: // [
      case 0x7b: // {
        depth += 1
        if (depth > max) return true
        break
      case 0x5d: // ]
      case 0x7d: // }
        depth -= 1
    }
  }
  return false
}

/** Where the string ends that begins at `start`. A quote behind an odd number of backslashes belongs to it. */
function endOfString(json: string, start: number): number {
  for (let at = json.indexOf('"', start + 1); at >= 0; at = json.indexOf('"', at + 1)) {
    let before = at - 1
    while (json.charCodeAt(before) === 0x5c) before -= 1
    if ((at - before) % 2) return at
  }
  return json.length
}
