import { isTooDeep, MAX_DEPTH } from '../request/json'

/**
 * Characters of a receipt's JSON: as much as a message may have by default. A larger one is
 * reported, and becomes `null`.
 */
const MAX_RECEIPT = 262_144

/**
 * The command was applied, so a receipt that is no JSON must not look like a failure: the client
 * would repeat it.
 */
export function toJson(receipt: unknown, onError: (error: unknown) => void): string {
  try {
    const json = JSON.stringify(receipt) ?? 'null'
    if (isTooDeep(json)) throw new TypeError(`onCommand: a receipt must not be nested more than ${MAX_DEPTH} deep`)
    if (json.length > MAX_RECEIPT)
      throw new TypeError(
        `onCommand: a receipt must not have more than ${MAX_RECEIPT} characters of JSON, but has ${json.length}; ` +
          'return what names it, and publish the rest',
      )
    return json
  } catch (error) {
    onError(error)
    return 'null'
  }
}
