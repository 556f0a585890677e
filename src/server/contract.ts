import type { JsonObject } from '../protocol'
import type { ProtocolError } from '../protocol/define/protocolError'
import type { Check } from '../protocol/define/types'
import { Refusal } from './errors'

/** To a client: its message does not fit the protocol. */
export class Misfit extends Refusal {
  constructor({ message, issues }: ProtocolError) {
    super(400, 'bad-message', {}, message, issues)
  }
}

/** What the app's `protocol` says of its messages. Without schemas everything fits. */
export class Contract {
  readonly #check: Check | undefined
  /** The types of commands; undefined: whatever has an endpoint. */
  readonly #types: ReadonlySet<unknown> | undefined

  constructor({
    check,
    endpoints = {},
  }: { readonly check?: Check | undefined; readonly endpoints?: object | undefined } = {}) {
    this.#check = check
    this.#types = check && new Set(Object.keys(endpoints))
  }

  /** @throws Misfit that names the type, and those that there are */
  refuseUnknown(message: JsonObject) {
    if (!this.#types?.has(message.type))
      this.#check?.('up', message, (error) => {
        throw new Misfit(error)
      })
  }

  /**
   * A command as the app gets it. Rejects with `Misfit`; with what is no refusal, if a schema
   * threw.
   */
  async command(message: JsonObject): Promise<JsonObject> {
    let misfit: ProtocolError | undefined
    const told = this.#check?.('up', message, (error) => {
      misfit = error
    })
    try {
      if (misfit) return (await (misfit.later ?? Promise.reject(misfit))) as JsonObject
    } catch (error) {
      throw refusalFor(error as ProtocolError)
    }
    return this.#check ? (told as JsonObject) : message
  }

  /** @throws ProtocolError */
  event(sessionId: string, event: JsonObject) {
    this.#check?.('down', { ...event, sessionId }, fail)
  }

  /**
   * False, once `onError` was told: the command was applied, so the misfit must not look like a
   * failure.
   */
  isReceipt(type: string, receipt: unknown, onError: (error: unknown) => void): boolean {
    if (!this.#check) return true
    try {
      this.#check('receipts', { receipt: JSON.parse(JSON.stringify(receipt) ?? 'null') }, fail, type)
      return true
    } catch (error) {
      onError(error)
      return false
    }
  }
}

/** A schema that threw has not judged the message: that passes, or is a bug of the server. */
const refusalFor = (error: ProtocolError) => (error.issues.length > 0 ? new Misfit(error) : error)

const fail = (error: ProtocolError) => {
  throw error
}
