/** A 404 that is no word about the stream is about the endpoint once it came on so many fresh streams. */
const STREAMS = 3

/** Which endpoints answered 404, though their streams were known: the server may not have them at all. */
export class Endpoints {
  readonly #suspects = new Map<string, { readonly stream: string | null; readonly streams: number }>()
  readonly #known = new Set<string>()

  /** It answered 2xx: whatever it answers from now on, it is there. */
  taken(endpoint: string) {
    this.#known.add(endpoint)
    this.#suspects.delete(endpoint)
  }

  isSuspect(endpoint: string): boolean {
    return this.#suspects.has(endpoint)
  }

  /** It answered 404 on a stream that, if `isProven`, has answered another POST. True if there is no such endpoint. */
  disowned(endpoint: string, stream: string | null, isProven: boolean): boolean {
    if (this.#known.has(endpoint)) return false
    const { stream: last, streams } = this.#suspects.get(endpoint) ?? { stream: null, streams: 0 }
    const seen = isProven && last !== stream ? streams + 1 : streams
    this.#suspects.set(endpoint, { stream: isProven ? stream : last, streams: seen })
    return seen >= STREAMS
  }
}
