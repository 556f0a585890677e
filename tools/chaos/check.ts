import type { Phase, Verdict } from 'holdline'

/** What became of a run, as seen from outside: by the server, by `fetch`, by the app. */
export interface History {
  /** Announced by the server, and true. */
  readonly promises: {
    readonly idempotency: boolean
    readonly receipts: boolean
    /** A receipt says where in `applied` its message stands. */
    readonly places: boolean
  }
  /** By number, in the order of `send()`. */
  readonly sent: readonly Sent[]
  /** The numbers of the messages, as they were handed to `fetch`, and the phase at that moment. */
  readonly posted: readonly { readonly n: number; readonly phase: Phase }[]
  /** The numbers of the messages, as the server applied them; at least those of a lane in order. */
  readonly applied: readonly number[]
  /** How many events the server numbered, by session. */
  readonly published: Readonly<Record<string, number>>
  /** By listener, the events that it took without throwing. */
  readonly heard: Readonly<Record<string, readonly Heard[]>>
  readonly lifecycle: readonly ('opened' | 'closed')[]
  /** The most streams that the client held at once. */
  readonly mostStreams: number
  /** What no run should see, e.g. an error inside the server. */
  readonly surprises: readonly string[]
}
export interface Sent {
  /** Messages of one lane stay in order. */
  readonly lane?: string | undefined
  /** Why another verdict than `accepted` may be right. */
  readonly excuse?: Excuse | undefined
  readonly verdict?: Verdict | undefined
}
/**
 * `poisoned`: the server fails at it, each time. `no endpoint`: its POSTs are answered 404, on
 * every stream.
 */
export type Excuse = 'refused by the server' | 'cancelled' | 'expired' | 'poisoned' | 'no endpoint'
export interface Heard {
  readonly sessionId: string
  readonly seq: number
}

/** The rules that the history breaks; none, if the library keeps its word. */
export const check = (history: History): string[] => new Check(history).violations()

class Check {
  readonly #history: History
  readonly #violations: string[]

  constructor(history: History) {
    this.#history = history
    this.#violations = [...history.surprises]
  }

  violations(): string[] {
    const { sent, applied, posted } = this.#history
    const times = timesOf(applied)
    const posts = timesOf(posted.map(({ n }) => n))
    for (const [n, message] of sent.entries()) this.#checkVerdict(n, message, times.get(n) ?? 0, posts.get(n) ?? 0)
    this.#checkOrder()
    this.#checkGate()
    this.#checkEvents()
    this.#checkLine()
    return this.#violations
  }

  #expect(holds: boolean, rule: string) {
    if (!holds) this.#violations.push(rule)
  }

  /** `times`: applied; `made`: posted. */
  #checkVerdict(n: number, { excuse, verdict }: Sent, times: number, made: number) {
    if (!verdict) return this.#expect(false, `message ${n} has no verdict`)
    const { idempotency } = this.#history.promises
    const { status, attempts } = verdict
    const told = `message ${n}, ${status} after ${attempts} attempts, applied ${times} times`
    this.#expect(attempts >= made, `attempts: ${told}, but posted ${made} times`)
    this.#expect(times <= (idempotency ? 1 : attempts), `doubled: ${told}`)
    this.#expect(excuse !== undefined || status === 'accepted', `given up without need: ${told}`)
    // The refusal of a repeat says nothing of the first, unless the server is idempotent.
    const isGivenUp = excuse === 'cancelled' || excuse === 'poisoned' || excuse === 'no endpoint'
    const mayBeInDoubt = isGivenUp || (excuse !== undefined && !idempotency && attempts > 1)
    if (status === 'unknown') this.#expect(made > 0 && mayBeInDoubt, `false verdict: ${told}, ${excuse}`)
    if (status === 'rejected') this.#expect(times === 0, `false verdict: ${told}`)
    if (excuse === 'poisoned')
      this.#expect(times === 0 && status !== 'accepted', `a server that failed has applied: ${told}`)
    if (status === 'accepted') this.#checkReceipt(n, verdict.receipt, times, told)
  }

  #checkReceipt(n: number, receipt: unknown, times: number, told: string) {
    const { applied, promises } = this.#history
    this.#expect(times > 0, `lost: ${told}`)
    const isOwn = promises.places ? applied[Object(receipt).application] === n : receipt !== null
    const isUnreadable = receipt === null && !promises.receipts
    this.#expect(isOwn || isUnreadable, `false receipt: ${told}: ${JSON.stringify(receipt)}`)
  }

  #checkOrder() {
    const { sent, applied, posted } = this.#history
    // What was given up while in flight may reach the server at any time.
    const settled = applied.filter((n) => sent[n]?.verdict?.status === 'accepted')
    for (const lane of new Set(sent.map((one) => one.lane))) {
      const firstsOf = (numbers: readonly number[]) => [...new Set(numbers.filter((n) => sent[n]?.lane === lane))]
      const firstPosts = firstsOf(posted.map(({ n }) => n))
      const early = firstFall(firstPosts)
      this.#expect(early < 0, `order: message ${firstPosts[early]} was posted after ${firstPosts[early - 1]}`)
      const firsts = firstsOf(settled)
      const late = firstFall(firsts)
      this.#expect(late < 0, `order: message ${firsts[late]} was applied after ${firsts[late - 1]}`)
    }
  }

  #checkGate() {
    const outside = this.#history.posted.find(({ phase }) => phase !== 'open')
    this.#expect(!outside, `the gate: message ${outside?.n} was posted in ${outside?.phase}`)
  }

  #checkEvents() {
    const { heard, published } = this.#history
    for (const [listener, events] of Object.entries(heard)) {
      for (const [sessionId, count] of Object.entries(published)) {
        const seqs = events.filter((event) => event.sessionId === sessionId).map(({ seq }) => seq)
        const at = seqs.findIndex((seq, index) => seq !== index + 1)
        const where = `${listener} of session ${sessionId}`
        this.#expect(at < 0, `events: ${where} heard ${seqs[at]} after ${seqs[at - 1] ?? 'nothing'}`)
        this.#expect(at >= 0 || seqs.length === count, `events: ${where} heard ${seqs.length} of ${count}`)
      }
    }
  }

  #checkLine() {
    const { lifecycle, mostStreams } = this.#history
    const twice = lifecycle.findIndex((event, index) => event !== (index % 2 ? 'closed' : 'opened'))
    this.#expect(twice < 0, `lifecycle: '${lifecycle[twice]}' came at ${twice}`)
    this.#expect(mostStreams <= 1, `streams: ${mostStreams} at once`)
  }
}

/** How often each number occurs. */
function timesOf(numbers: readonly number[]): ReadonlyMap<number, number> {
  const times = new Map<number, number>()
  for (const n of numbers) times.set(n, (times.get(n) ?? 0) + 1)
  return times
}

const firstFall = (numbers: readonly number[]) => numbers.findIndex((n, index) => n <= (numbers[index - 1] ?? -1))
