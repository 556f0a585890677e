import type { Phase, Verdict } from 'holdline'

/** What became of a run, as seen from outside: by the server, by `fetch`, by the app. */
export interface History {
  /** Announced by the server, and true. */
  readonly promises: { readonly idempotency: boolean; readonly receipts: boolean }
  /** By number, in the order of `send()`. */
  readonly sent: readonly Sent[]
  /** The numbers of the messages, as they were handed to `fetch`, and the phase at that moment. */
  readonly posted: readonly { readonly n: number; readonly phase: Phase }[]
  /**
   * The numbers of the messages, as the server applied them. The receipt of each says where in this
   * list it stands.
   */
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
export function check(history: History): string[] {
  const { promises, sent, posted, applied, published, heard, lifecycle, mostStreams, surprises } = history
  const violations = [...surprises]
  const expect = (holds: boolean, rule: string) => holds || violations.push(rule)
  const firstFall = (numbers: readonly number[]) => numbers.findIndex((n, index) => n <= (numbers[index - 1] ?? -1))

  const applications = sent.map(() => 0)
  for (const n of applied) applications[n] = (applications[n] ?? 0) + 1
  const posts = sent.map(() => 0)
  for (const { n } of posted) posts[n] = (posts[n] ?? 0) + 1

  for (const [n, { excuse, verdict }] of sent.entries()) {
    const times = applications[n] ?? 0
    const made = posts[n] ?? 0
    if (!verdict) {
      expect(false, `message ${n} has no verdict`)
      continue
    }
    const { status, attempts } = verdict
    const told = `message ${n}, ${status} after ${attempts} attempts, applied ${times} times`
    expect(attempts >= made, `attempts: ${told}, but posted ${made} times`)
    expect(times <= (promises.idempotency ? 1 : attempts), `doubled: ${told}`)
    expect(excuse !== undefined || status === 'accepted', `given up without need: ${told}`)
    // The refusal of a repeat says nothing of the first, unless the server is idempotent.
    const isGivenUp = excuse === 'cancelled' || excuse === 'poisoned' || excuse === 'no endpoint'
    const mayBeInDoubt = isGivenUp || (excuse !== undefined && !promises.idempotency && attempts > 1)
    if (status === 'unknown') expect(made > 0 && mayBeInDoubt, `false verdict: ${told}, ${excuse}`)
    if (status === 'rejected') expect(times === 0, `false verdict: ${told}`)
    if (excuse === 'poisoned') expect(times === 0 && status !== 'accepted', `a server that failed has applied: ${told}`)
    if (status !== 'accepted') continue
    expect(times > 0, `lost: ${told}`)
    const { receipt } = verdict
    const isOwn = applied[Object(receipt).application] === n
    const isUnreadable = receipt === null && !promises.receipts
    expect(isOwn || isUnreadable, `false receipt: ${told}: ${JSON.stringify(receipt)}`)
  }

  // What was given up while in flight may reach the server at any time.
  const settled = applied.filter((n) => sent[n]?.verdict?.status === 'accepted')
  for (const lane of new Set(sent.map((one) => one.lane))) {
    const firstsOf = (numbers: readonly number[]) => [...new Set(numbers.filter((n) => sent[n]?.lane === lane))]
    const firstPosts = firstsOf(posted.map(({ n }) => n))
    const early = firstFall(firstPosts)
    expect(early < 0, `order: message ${firstPosts[early]} was posted after ${firstPosts[early - 1]}`)
    const firsts = firstsOf(settled)
    const late = firstFall(firsts)
    expect(late < 0, `order: message ${firsts[late]} was applied after ${firsts[late - 1]}`)
  }
  const outside = posted.find(({ phase }) => phase !== 'open')
  expect(!outside, `the gate: message ${outside?.n} was posted in ${outside?.phase}`)

  for (const [listener, events] of Object.entries(heard)) {
    for (const [sessionId, count] of Object.entries(published)) {
      const seqs = events.filter((event) => event.sessionId === sessionId).map(({ seq }) => seq)
      const at = seqs.findIndex((seq, index) => seq !== index + 1)
      const where = `${listener} of session ${sessionId}`
      expect(at < 0, `events: ${where} heard ${seqs[at]} after ${seqs[at - 1] ?? 'nothing'}`)
      expect(at >= 0 || seqs.length === count, `events: ${where} heard ${seqs.length} of ${count}`)
    }
  }

  const twice = lifecycle.findIndex((event, index) => event !== (index % 2 ? 'closed' : 'opened'))
  expect(twice < 0, `lifecycle: '${lifecycle[twice]}' came at ${twice}`)
  expect(mostStreams <= 1, `streams: ${mostStreams} at once`)
  return violations
}
