import type { Feature, JsonObject } from '../../protocol'
import type { AppliedCommand } from './behaviourChain'

type Answer = readonly [status: number, json: unknown]

/** What a server has applied, and what it has answered. */
export class TestCommands {
  /** In the order in which they were applied. */
  readonly applied: AppliedCommand[] = []
  readonly #features: readonly Feature[]
  readonly #answers = new Map<string, Answer>()

  constructor(features: readonly Feature[]) {
    this.#features = features
  }

  apply(id: string | null, endpoint: string, message: JsonObject): Answer {
    const isKept = id !== null && this.#features.includes('idempotency')
    const known = id !== null && this.#answers.get(id)
    if (known) return known
    if (endpoint === 'stop' && this.#features.includes('cancels')) this.#cancel(list(message.cancels))
    this.applied.push({ id, endpoint, message })
    const answer = [200, { ok: true, number: this.applied.length }] as const
    if (isKept) this.#answers.set(id, answer)
    return answer
  }

  readonly applyInBatch = (message: unknown): object => {
    const { id, endpoint, body } = Object(message)
    const [status, receipt] = this.apply(String(id), String(endpoint), Object(body))
    return { id, status, receipt }
  }

  /** None of them has begun: what has begun has its answer. */
  #cancel(ids: readonly unknown[]) {
    for (const other of ids) {
      if (!this.applied.some(({ id }) => id === other)) this.#answers.set(String(other), [409, { error: 'cancelled' }])
    }
  }

  forgetAnswers() {
    this.#answers.clear()
  }
}

export const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
