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

/**
 * The members of a JSON object by their names, as texts: found in one pass, where parsing makes twenty times the text of it. What is in
 * the values is not looked at, nor checked. Undefined if it is no object.
 */
export function membersOf(json: string): ReadonlyMap<string, string> | undefined {
  const members = new Map<string, string>()
  let at = skipSpace(json, 0)
  if (json[at] !== '{') return undefined
  at = skipSpace(json, at + 1)
  while (json[at] === '"') {
    const endOfName = endOfString(json, at)
    const name = endOfName - at > MAX_NAME ? '' : json.slice(at + 1, endOfName)
    at = skipSpace(json, endOfName + 1)
    if (json[at] !== ':') return undefined
    const start = skipSpace(json, at + 1)
    const end = endOfValue(json, start)
    if (name) members.set(name, json.slice(start, end))
    at = skipSpace(json, end)
    if (json[at] === ',') at = skipSpace(json, at + 1)
  }
  return json[at] === '}' && skipSpace(json, at + 1) === json.length ? members : undefined
}

/** Of an array; undefined if it is none, or empty. */
export function firstElement(json: string): string | undefined {
  const start = skipSpace(json, 1)
  return json[0] === '[' && json[start] !== ']' ? json.slice(start, endOfValue(json, start)) : undefined
}

/** Nobody asks for a longer one. */
const MAX_NAME = 32

function skipSpace(json: string, from: number): number {
  let at = from
  while (' \t\n\r'.includes(json[at] ?? '!')) at += 1
  return at
}

/** Behind the value that begins at `start`. */
function endOfValue(json: string, start: number): number {
  let depth = 0
  for (let at = start; at < json.length; at += 1) {
    switch (json.charCodeAt(at)) {
      case 0x22: // "
        at = endOfString(json, at)
        if (depth === 0) return at + 1
        break
      case 0x5b: // [
      case 0x7b: // {
        depth += 1
        break
      case 0x5d: // ]
      case 0x7d: // }
        depth -= 1
        if (depth === 0) return at + 1
        if (depth < 0) return at
        break
      case 0x2c: // ,
        if (depth === 0) return at
    }
  }
  return json.length
}
