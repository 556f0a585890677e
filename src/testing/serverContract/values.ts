import { isObject, isText, type JsonObject, newId } from '../../protocol'
import type { Place } from './serverLine'

export const newText = () => `check ${newId().slice(0, 12)}`
export const newSession = () => `check-${newId().slice(0, 16)}`
export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** `1–3, 5`. */
export function rangesOf(seqs: readonly number[]): string {
  const ranges: [first: number, last: number][] = []
  for (const seq of seqs) {
    const range = ranges.at(-1)
    if (range && seq === range[1] + 1) range[1] = seq
    else ranges.push([seq, seq])
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`)).join(', ') || 'none'
}

/** As a cursor behind an event. */
export function placeAt(event: JsonObject | undefined, { sessionId, lastSeq }: Place): Place {
  const { seq = lastSeq, epoch } = event ?? {}
  return { sessionId, lastSeq: Number(seq), ...(isText(epoch) && { epoch }) }
}

/** After this long a server may be through with what it does, ms. */
const BUSY = 50

/** How long a server is to be let alone, ms. */
export function waitOf(status: number, headers: Headers): number | undefined {
  const seconds = Number(headers.get('retry-after') ?? Number.NaN)
  if (status === 409 || status === 423) return BUSY
  return (status === 429 || status === 503) && seconds >= 0 ? seconds * 1_000 : undefined
}

/** A message, with what the `{names}` in its texts stand for. */
export function filled(value: unknown, names: Readonly<Record<string, string>>): unknown {
  if (isText(value)) return value.replace(/\{(\w+)\}/g, (whole, name: string) => names[name] ?? whole)
  if (Array.isArray(value)) return value.map((part) => filled(part, names))
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, filled(part, names)]))
}
