import { ConnectionError } from '../errors'
import type { JsonObject } from '../protocol'
import { type Of, type Said, toError } from './messages'
import type { Source } from './source'

interface Waiting {
  resolve(json: JsonObject): void
  reject(error: ConnectionError): void
}

/** The stream of the tab that leads, in a tab that follows. */
export class FollowedLine implements Source {
  readonly #say: (message: Said) => void
  readonly #waiting = new Map<number, Waiting>()
  /** Of all of them: an answer that is late must not answer another one. */
  static #asked = 0

  constructor(say: (message: Said) => void) {
    this.#say = say
  }

  // It is opened and closed by the tab that leads.
  open() {}
  close() {}

  ask(endpoint: string, body: string): Promise<JsonObject> {
    const id = ++FollowedLine.#asked
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#say({ type: 'ask', id, endpoint, body })
    })
  }

  attend(sessions: readonly string[]) {
    this.#say({ type: 'attend', sessions })
  }

  hear({ id, json, error }: Of<'answer'>) {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error) waiting?.reject(toError(error))
    else waiting?.resolve(json ?? {})
  }

  /** No answer comes any more. */
  end() {
    for (const { reject } of this.#waiting.values()) reject(new ConnectionError('network', 'the shared line was lost'))
    this.#waiting.clear()
  }
}
