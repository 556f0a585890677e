/** Prompts that are remembered. */
const MAX_PROMPTS = 1_000
/** The page that has not written for the longest is counted from 1 again. */
const MAX_PAGES = 10_000

/** What the agents have received, kept beside the server: a restart does not clear it. */
export class Book {
  /** The last ones, in their order. */
  readonly prompts: string[] = []
  readonly #counts = new Map<string, number>()

  /** Returns how many prompts of this page have been received, this one included. */
  readonly receive = (prompt: string, page: string): number => {
    this.prompts.push(prompt)
    if (this.prompts.length > MAX_PROMPTS) this.prompts.shift()
    const count = (this.#counts.get(page) ?? 0) + 1
    this.#counts.delete(page)
    const [oldest = ''] = this.#counts.set(page, count).keys()
    if (this.#counts.size > MAX_PAGES) this.#counts.delete(oldest)
    return count
  }
}
