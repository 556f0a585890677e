import { isObject } from '../../protocol'

/** Longest text that is quoted in a sentence, characters. */
const QUOTED = 200

export const brief = (text: string) => (text.length > QUOTED ? `${text.slice(0, QUOTED)}…` : text)
export const quoted = (value: unknown) => brief(JSON.stringify(value) ?? 'nothing')

/** The order of the members of an object says nothing. */
const sorted = (_: string, value: unknown) =>
  isObject(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value
export const isSame = (one: unknown, other: unknown) => JSON.stringify(one, sorted) === JSON.stringify(other, sorted)
