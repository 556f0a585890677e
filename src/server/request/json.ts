/**
 * How deep the JSON of a command, a receipt or an event may be nested. `JSON.stringify`,
 * `structuredClone` and everything else that walks a value by recursion throws somewhere between
 * 2,000 and 6,000 levels; people nest 30.
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

/**
 * Where the string ends that begins at `start`. A quote behind an odd number of backslashes belongs
 * to it.
 */
function endOfString(json: string, start: number): number {
  for (let at = json.indexOf('"', start + 1); at >= 0; at = json.indexOf('"', at + 1)) {
    let before = at - 1
    while (json.charCodeAt(before) === 0x5c) before -= 1
    if ((at - before) % 2) return at
  }
  return json.length
}

/**
 * The members of a JSON object by their names, as texts: found in one pass, where parsing makes
 * twenty times the text of it. What is in the values is not looked at, nor checked. Undefined if it
 * is no object.
 */
export function membersOf(json: string): ReadonlyMap<string, string> | undefined {
  const found = new Map<string, string>()
  const reading = readMembers(json, 0)
  for (;;) {
    const { done, value } = reading.next()
    if (done) return value !== undefined && skipSpace(json, value) === json.length ? found : undefined
    value.end = endOfValue(json, value.start)
    if (value.name) found.set(value.name, json.slice(value.start, value.end))
  }
}

/** Where a message of a batch belongs, as JSON. */
export interface Label {
  readonly id: string | undefined
  readonly lane: string | undefined
}

/**
 * The labels of the messages of a batch, one after the other, up to the first value that is no
 * message.
 */
export function* labelsOf(batch: string): Generator<Label> {
  const messages = findMember(batch, 0, 'messages')
  if (messages === undefined || batch[messages] !== '[') return
  let at = messages
  do {
    at = skipSpace(batch, at + 1)
    if (batch[at] !== '{') return
    const label: { id?: string; lane?: string } = {}
    const reading = readMembers(batch, at)
    let end: number | undefined
    for (;;) {
      const { done, value } = reading.next()
      if (done) {
        end = value
        break
      }
      if (value.name !== 'id' && value.name !== 'lane') continue
      value.end = endOfValue(batch, value.start)
      label[value.name] = batch.slice(value.start, value.end)
    }
    yield { id: label.id, lane: label.lane }
    if (end === undefined) return
    at = skipSpace(batch, end)
  } while (batch[at] === ',')
}

/** Where the value of a member begins. */
function findMember(json: string, from: number, wanted: string): number | undefined {
  for (const { name, start } of readMembers(json, from)) if (name === wanted) return start
  return undefined
}

/** No name that is asked for is longer. */
const MAX_NAME = 32

interface Member {
  /** As it is written, or '' if it is longer than any that is asked for. */
  readonly name: string
  readonly start: number
  /** Where it ends, if the reader knows it by now. */
  end?: number
}

/**
 * The members of the object that begins at `from`. Returns where that ends; undefined if it is
 * none.
 */
function* readMembers(json: string, from: number): Generator<Member, number | undefined> {
  let at = skipSpace(json, from)
  if (json[at] !== '{') return undefined
  at = skipSpace(json, at + 1)
  while (json[at] === '"') {
    const endOfName = endOfString(json, at)
    const name = endOfName - at > MAX_NAME ? '' : json.slice(at + 1, endOfName)
    at = skipSpace(json, endOfName + 1)
    if (json[at] !== ':') return undefined
    const member: Member = { name, start: skipSpace(json, at + 1) }
    yield member
    at = skipSpace(json, member.end ?? endOfValue(json, member.start))
    if (json[at] === ',') at = skipSpace(json, at + 1)
  }
  return json[at] === '}' ? at + 1 : undefined
}

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
