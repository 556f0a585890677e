import { Answer } from './answer'
import { Fault } from './fault'

/** The requests of one case. None follows a redirect, and none is without an end. */
export class Wire {
  readonly timeout: number
  readonly #url: string
  readonly #fetch: typeof globalThis.fetch
  /** The requests of the case, as they are named in a sentence, oldest first. */
  readonly #said: string[] = []

  constructor(url: string, timeout: number, fetch: typeof globalThis.fetch) {
    this.timeout = timeout
    this.#url = url.replace(/\/+$/, '')
    this.#fetch = fetch
  }

  /** The last requests, for a sentence. */
  get sent(): string {
    return this.#said.slice(-2).join(', then ') || 'nothing'
  }

  fault(came: string): Fault {
    return new Fault(this.sent, came)
  }

  /** Rejects with a Fault if nothing is answered in time. `abort` ends the answer as well. */
  async ask(said: string, path: string, init: RequestInit, abort = new AbortController()): Promise<Response> {
    this.#said.push(said)
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      abort.abort()
    }, this.timeout)
    try {
      return await this.#fetch(`${this.#url}/${path}`, { redirect: 'manual', signal: abort.signal, ...init })
    } catch (error) {
      throw new Fault(said, isLate ? `no answer within ${this.timeout} ms` : `no answer (${reasonOf(error)})`)
    } finally {
      clearTimeout(timer)
    }
  }

  /** A POST whose answer is not waited for. */
  begin(path: string, init: RequestInit) {
    this.#said.push(`POST ${path} with a body that stalls`)
    // [spec] fetch: a body that is a stream has to say so.
    const streaming = { method: 'POST', duplex: 'half', ...init } as RequestInit
    this.#fetch(`${this.#url}/${path}`, streaming).catch(() => {})
  }

  /** A POST, answered to its end. */
  async post(said: string, path: string, init: RequestInit): Promise<Answer> {
    const abort = new AbortController()
    const response = await this.ask(said, path, { method: 'POST', ...init }, abort)
    const timer = setTimeout(() => abort.abort(), this.timeout)
    try {
      return new Answer(said, response, await response.text())
    } catch (error) {
      throw new Fault(said, `was answered ${response.status}, and its body was cut off (${reasonOf(error)})`)
    } finally {
      clearTimeout(timer)
    }
  }
}

/** `fetch failed` says nothing; its cause does. */
function reasonOf(error: unknown): string {
  const { cause, message } = Object(error)
  // UND_ERR_SOCKET says less than its message.
  const code = /^UND_/.test(cause?.code) ? undefined : cause?.code
  return String(code ?? cause?.message ?? message ?? error)
}
