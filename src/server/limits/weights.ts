import type { Account } from './budget'

// The memory that each thing takes, bytes. Measured on Node 22, 64 bit, and rounded up.

/** A request that waits for something, with its socket and what the host keeps for it. */
export const REQUEST_WEIGHT = 16_384
/** A frame that waits, and a socket's share of the rest. */
export const FRAME_WEIGHT = 1_024
/** A lane in which something stands, beside its name. */
export const LANE_WEIGHT = 1_024
/** A session that is attached to a stream. */
export const SESSION_WEIGHT = 1_024
/** To look a session up and to follow it costs about as much as to write so many bytes. */
export const LOOKUP_WEIGHT = 8_192
/** The receipt of a command, beside its texts. */
export const RECEIPT_WEIGHT = 512
/** A part of a text that is still being read. */
export const PART_WEIGHT = 64

/** One character that is none of Latin-1 makes two bytes of each. */
export const textWeight = (text: string) => (/[^\0-\xff]/.test(text) ? 2 : 1) * text.length

/** `parsedWeight` is never more than this for each character. */
export const MAX_SWELLING = 32

/**
 * The most memory that JSON takes once it is parsed: `{},` is 3 characters, and an object in an
 * array.
 */
export function parsedWeight(json: string): number {
  let bytes = 2 * json.length
  for (let at = 0; at < json.length; at += 1) {
    switch (json.charCodeAt(at)) {
      case 0x7b: // {
      case 0x5b: // [
        bytes += 64
        break
      case 0x3a: // :
        bytes += 40
        break
      case 0x22: // "
        bytes += 12
        break
      case 0x2c: // ,
        bytes += 16
    }
  }
  return bytes
}

/**
 * The account that a stream's body was opened on. By the body, because it survives whatever stands
 * between a server and a gateway.
 */
const accounts = new WeakMap<ReadableStream, Account>()
export const putOnAccount = (body: ReadableStream, account: Account) => void accounts.set(body, account)
export const accountOf = (body: ReadableStream) => accounts.get(body)
