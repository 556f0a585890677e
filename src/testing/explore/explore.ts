import type { Harness } from '../harness/harness'
import { sessionsOf } from '../harness/network'
import { INVARIANTS, type Invariant, type Violation } from '../oracle/invariants'
import { carried } from '../oracle/wire'
import { ALPHABET } from '../world/alphabet'
import type { Alphabet } from '../world/letter'
import { isOfTheApp, isResume, isSuspend } from '../world/posts'
import { createWorld, type World, type WorldOptions } from '../world/world'

export interface ReplayOptions extends WorldOptions {
  /** What can happen. Default: `ALPHABET`. */
  readonly alphabet?: Alphabet
  /** Called after each letter, when everything that follows from it has happened. What it throws is a violation. */
  readonly onStep?: (harness: Harness, letter: string) => void
}

export interface ExploreOptions extends ReplayOptions {
  /** How many letters a sequence has at most. */
  readonly depth: number
  /** Enough is enough. Default: no limit. */
  readonly maxEdges?: number
  /** Called about five times a second. */
  readonly onProgress?: (progress: Progress) => void
  /** What follows from a node. Default: it is worked out here; it may be elsewhere, `lanes` nodes at a time. */
  readonly expand?: Expand
  readonly lanes?: number
}

export interface Progress {
  /** Of the nodes that are being expanded. */
  readonly depth: number
  /** How many of them are done. */
  readonly done: number
  readonly of: number
  /** Distinct states. */
  readonly states: number
  /** Distinct (state, letter) pairs that were carried out. */
  readonly edges: number
  /** Edges per second. */
  readonly rate: number
}

export interface Finding {
  readonly invariant: Invariant
  readonly message: string
  /** The shortest sequence that shows it. */
  readonly path: readonly string[]
  /** The source text of a test that shows it. */
  readonly test: string
}

export interface Exploration extends Pick<Progress, 'depth' | 'states' | 'edges' | 'rate'> {
  /** One per invariant and message. */
  readonly violations: readonly Finding[]
}

/** One letter, and where it led to. */
export interface Edge {
  readonly letter: string
  /** The state's hash; none, if an invariant is broken there. */
  readonly state?: number
  readonly findings: readonly Finding[]
}
export type Expand = (path: readonly string[]) => Promise<readonly Edge[]>

/**
 * Lets happen to a connection whatever can happen, in every order, breadth first, and checks the invariants after each step. From each new
 * state a healthy network has to lead to an open line that is up to date (I9).
 *
 * A node is a sequence of letters, carried out on a real connection in a world of its own; nothing is simulated. Sequences that lead to the
 * same state are one node: see `fingerprint`.
 */
export async function explore(options: ExploreOptions): Promise<Exploration> {
  const { maxEdges = Number.POSITIVE_INFINITY, onProgress, expand = createExpand(options), lanes = 1 } = options
  const violations: Finding[] = []
  const states = new Set([hash(fingerprint(createWorld(options)))])
  const began = performance.now()
  let edges = 0
  let told = began
  let depth = 0
  let nodes: readonly (readonly string[])[] = [[]]

  const progress = (done: number): Progress => ({
    depth,
    done,
    of: nodes.length,
    states: states.size,
    edges,
    rate: Math.round((edges * 1_000) / (performance.now() - began)),
  })

  for (; depth < options.depth && nodes.length; depth++) {
    const next: (readonly string[])[] = []
    let taken = 0
    const work = async () => {
      for (let path = nodes[taken++]; path && edges < maxEdges; path = nodes[taken++]) {
        for (const { letter, state, findings } of await expand(path)) {
          edges++
          for (const finding of findings) {
            if (!violations.some((known) => isSame(known, finding))) violations.push(finding)
          }
          if (state === undefined || states.has(state)) continue
          states.add(state)
          next.push([...path, letter])
        }
        if (performance.now() - told < 200) continue
        told = performance.now()
        onProgress?.(progress(Math.min(taken, nodes.length)))
      }
    }
    await Promise.all(Array.from({ length: lanes }, work))
    // Longer sequences would only show the same again.
    nodes = edges < maxEdges && !violations.length ? next : []
  }
  const { rate } = progress(0)
  return { depth, states: states.size, edges, rate, violations }
}

type Fault = Pick<Violation, 'invariant' | 'message'>
const isSame = (a: Fault, b: Fault) => a.invariant === b.invariant && a.message === b.message

/** Works out what follows from a node, and remembers which states it has handed to a healthy network. */
export function createExpand(options: ReplayOptions): Expand {
  const { alphabet = ALPHABET } = options
  const healed = new Set<number>()
  const found: Finding[] = []

  /** What is wrong with this world, each in its shortest form. Nothing that is known. */
  async function find({ oracle }: World, path: readonly string[]): Promise<readonly Finding[]> {
    const news = oracle.violations.filter((violation) => !found.some((known) => isSame(known, violation)))
    const findings: Finding[] = []
    for (const violation of news) {
      const { invariant, message } = violation
      const shortest = await shorten(path, invariant, options)
      findings.push({ invariant, message, path: shortest, test: testOf(shortest, violation, options) })
    }
    found.push(...findings)
    return findings
  }

  async function expand(path: readonly string[]): Promise<readonly Edge[]> {
    const edges: Edge[] = []
    let world = await replay(path, options)
    let trail = path
    const here = hash(fingerprint(world))
    for (const letter of Object.keys(alphabet)) {
      if (!alphabet[letter]?.isEnabled(world)) continue
      await step(world, letter, options)
      trail = [...trail, letter]
      const state = world.oracle.violations.length ? undefined : hash(fingerprint(world))
      // What changes nothing leaves the world as good as new.
      if (state === here) {
        edges.push({ letter, state, findings: [] })
        continue
      }
      if (state !== undefined && !healed.has(state)) {
        healed.add(state)
        await world.heals().catch(() => {})
      }
      edges.push({ letter, ...(state !== undefined && { state }), findings: await find(world, trail) })
      world = await replay(path, options)
      trail = path
    }
    return edges
  }

  return async (path) => {
    const before = Error.stackTraceLimit
    // Most of what fails here is meant to fail; nobody reads the stacks, and they take their time.
    Error.stackTraceLimit = 0
    return expand(path).finally(() => {
      Error.stackTraceLimit = before
    })
  }
}

/**
 * Carries out a sequence of letters, each of them when everything that follows from the one before has happened. Rejects as soon as an
 * invariant is broken, or a letter cannot happen.
 */
export async function replay(path: readonly string[], options: ReplayOptions = {}): Promise<World> {
  const world = createWorld(options)
  for (const letter of path) {
    if (!(options.alphabet ?? ALPHABET)[letter]?.isEnabled(world)) {
      throw new Error(`holdline replay: "${letter}" cannot happen here`)
    }
    await step(world, letter, options)
    world.oracle.check()
  }
  return world
}

async function step(world: World, letter: string, { alphabet = ALPHABET, onStep }: ReplayOptions) {
  try {
    await alphabet[letter]?.act(world)
    await world.harness.settles()
    onStep?.(world.harness, letter)
  } catch (cause) {
    world.oracle.report('app', String(cause))
  }
}

/** Leaves out what is not needed to break the invariant. */
async function shorten(path: readonly string[], invariant: Invariant, options: ReplayOptions) {
  const breaks = (shorter: readonly string[]) =>
    replay(shorter, options)
      .then((world) => world.heals())
      .then(
        () => false,
        (error: Error) => error.message.includes(`  ${invariant} `),
      )
  let shortest = path
  for (let index = path.length - 1; index >= 0; index--) {
    const shorter = shortest.filter((_, at) => at !== index)
    if (await breaks(shorter)) shortest = shorter
  }
  return shortest
}

/** What is said in JSON of the options of a world. */
const PLAIN = ['features', 'heartbeat', 'event', 'message', 'atMost'] as const

function testOf(path: readonly string[], { invariant, message }: Violation, options: ReplayOptions): string {
  const own = (['create', 'alphabet', 'onStep'] as const).filter((name) => options[name]).join(', ')
  const plain = PLAIN.flatMap((name) =>
    options[name] === undefined ? [] : `${name}: ${JSON.stringify(options[name])}`,
  )
  return `import { replay } from 'holdline/testing'
import { test } from 'vitest'
${own && `// To be in scope here, under these names, as they were given to explore(): ${own}\n`}
// ${message}
test('${invariant}: ${INVARIANTS[invariant]}', async () => {
  const world = await replay(
    ${JSON.stringify(path)},
    { ${[own, ...plain].filter(Boolean).join(', ')} },
  )
  await world.heals()
})
`
}

/**
 * What decides the future of a world, with names and times relative. It may take two states for one: it does not see what the connection
 * remembers of a session beyond its cursor (which left-overs a resume will carry, which verdict is still to come, which message waits
 * for a listener), nor the size of its next batch, and it counts attempts, resumes and repeats up to a limit. It can take
 * one state for two, which only costs time.
 */
export function fingerprint(world: World): string {
  const { connection, harness, timers, lines, heads, deliveries, head, isCurrent, isHalf } = world
  const { posts } = harness
  const { value, status, context, children } = connection.actor.getSnapshot() as unknown as Inside
  const now = harness.time.clock.now()
  const line = world.live()
  const dead = posts.filter(({ isAborted, isAnswered }) => isAborted && !isAnswered)
  const resume = posts.findLast(isResume)
  const { silentFor, ...memory } = world.memory()
  const keepsSessions = world.features.includes('suspend-keeps')
  const isWatched = context.heartbeat !== null || JSON.stringify(value).includes('replaying')
  return JSON.stringify([
    value,
    status,
    children.outbox?.getSnapshot().value,
    Math.min(context.attempt, 5),
    context.fruitless,
    context.flaps,
    context.refusals,
    context.farewell,
    Math.min(context.resumes, 2),
    line && [
      line.isOpened,
      line.welcomes,
      line.isDead,
      line.isAsleep,
      Math.min(line.resumes.length, 2),
      [...line.sent].map(([id, seq]) => [id, head(id) - seq]),
    ],
    [...timers.values()].map((at) => at - now).sort((a, b) => a - b),
    posts
      // A server that keeps the sessions does nothing at a `suspend`, and the client does not wait for the answer.
      .filter((post) => !post.isAborted && !post.isAnswered && !(isSuspend(post) && keepsSessions))
      .map((post) => [post.endpoint, isCurrent(post), isHalf(post), carried(post)]),
    resume &&
      isCurrent(resume) &&
      sessionsOf(resume).map(({ sessionId, lastSeq }) => [sessionId, head(sessionId) - lastSeq]),
    [world.isReplaying(), !!world.probing()],
    [
      lines.some(({ stream }) => stream.isClosed),
      dead.some(isResume),
      dead.some(isOfTheApp),
      dead.some((post) => !isResume(post) && !isOfTheApp(post)),
    ],
    deliveries.map(({ id, status }) => [
      status,
      world.laneOf(id),
      Math.min(3, posts.filter((post) => carried(post).includes(id)).length),
    ]),
    connection.cursors.map(({ sessionId, lastSeq }) => [sessionId, head(sessionId) - lastSeq]),
    [...heads],
    memory,
    world.oracle.memory(),
    isWatched && Math.min(silentFor, 60_000),
  ])
}

interface Inside {
  readonly value: unknown
  readonly status: string
  readonly context: {
    readonly attempt: number
    readonly fruitless: number
    readonly flaps: number
    readonly refusals: number
    readonly farewell: string
    readonly resumes: number
    readonly heartbeat: number | null
  }
  readonly children: { readonly outbox?: { getSnapshot(): { readonly value: unknown } } }
}

/** 53 bits (cyrb53): among a million states the odds of a clash are one in 20,000. */
export function hash(text: string): number {
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    high = Math.imul(high ^ code, 2_654_435_761)
    low = Math.imul(low ^ code, 1_597_334_677)
  }
  high = Math.imul(high ^ (high >>> 16), 2_246_822_507) ^ Math.imul(low ^ (low >>> 13), 3_266_489_909)
  low = Math.imul(low ^ (low >>> 16), 2_246_822_507) ^ Math.imul(high ^ (high >>> 13), 3_266_489_909)
  return 4_294_967_296 * (2_097_151 & low) + (high >>> 0)
}
