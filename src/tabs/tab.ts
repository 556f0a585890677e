import { type Actor, createActor, type EventObject, fromCallback, type InspectionEvent } from 'xstate'
import { watchSilence } from '../adapters/silence'
import type { Clock } from '../environment'
import { ConnectionError } from '../errors'
import { parseWelcome } from '../protocol'
import { FollowedLine } from './followedLine'
import { TabLock, type TabLocks } from './lock'
import { type Of, parseMessage, type Said, TABS_VERSION, type TabMessage, toError } from './messages'
import { type TabScope, watchPage } from './page'
import { SharedLine } from './sharedLine'
import { fitnessOf } from './source'
import type { TabCarrier } from './tabCarrier'
import { tabMachine } from './tabMachine'
import type { ChannelCommand, JoinInput, LineCommand, LineInput, TabEvent, TabInput } from './types'

/** Without a word of the leader for so long, it is taken for frozen. Three of its beats, ms. */
const SILENCE = 6_000

/** So long after its greeting a tab that the leader does not name greets again, ms. */
const GREET_AGAIN = 1_000

/** What is used of a `BroadcastChannel`. */
export interface ChannelLike {
  postMessage(message: unknown): void
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void
  close(): void
}

/** The part of a browser by which tabs know of each other. */
export interface TabEnvironment {
  readonly locks: TabLocks
  openChannel(name: string): ChannelLike
  readonly scope: TabScope
}

export interface TabSetup extends TabEnvironment {
  readonly input: TabInput
  /** Of the lock, and of the channel. */
  readonly name: string
  readonly carrier: TabCarrier
  readonly clock: Clock
  /** `timeouts.resume`, ms. */
  readonly timeout: number
  inspect(event: InspectionEvent): void
  /** The leader is to find out whether the stream lives. */
  doubted(): void
}

export const nameOf = (name: string, url: string, credentials = '') =>
  `holdline:tabs:${TABS_VERSION}:${name}|${url}|${credentials}`

const LOST = new ConnectionError('stream-failed', 'the stream that the tabs share was lost')

type Tell = (event: TabEvent) => void

/** One tab: the machine with its actors. Each of them returns the function that undoes it. */
export class Tab {
  readonly actor: Actor<typeof tabMachine>
  readonly #setup: TabSetup
  #channel: ChannelLike | null = null
  /** The line that this tab holds. */
  #line: SharedLine | null = null
  readonly #followed: FollowedLine
  /** The last welcome of the line that is followed. */
  #welcome = ''
  /** Why that line was lost. */
  #error = LOST
  /** How often the leader was heard. */
  #signs = 0
  /** The last frame that was heard of a leader. */
  #heard = { term: 0, n: 0 }
  /** Since when the leader tells of its line, and does not name this tab. ms since the epoch. */
  #unheardSince: number | null = null
  /** A leadership that does not hear this tab, by its term: it is none for this tab. */
  #deaf = 0

  constructor(setup: TabSetup) {
    this.#setup = setup
    this.#followed = new FollowedLine(this.#say)
    const { input, clock, inspect } = setup
    const actors = {
      page: fromCallback(({ sendBack }) => watchPage(setup.scope, sendBack)),
      channel: fromCallback<ChannelCommand>(({ sendBack, receive }) => this.#openChannel(sendBack, receive)),
      lock: fromCallback<EventObject>(({ sendBack, receive }) => this.#queue(sendBack, receive)),
      leaderWatch: fromCallback(({ sendBack }) =>
        watchSilence(
          clock,
          SILENCE,
          () => this.#signs,
          () => sendBack({ type: 'leader.silent' }),
        ),
      ),
      join: fromCallback<EventObject, JoinInput>(({ sendBack, input }) => this.#join(sendBack, input)),
      relay: fromCallback(() => this.#relay()),
      line: fromCallback<LineCommand, LineInput>(({ sendBack, receive, input }) =>
        this.#lead(sendBack, receive, input),
      ),
      ownLine: fromCallback(() => this.#goAlone()),
    }
    this.actor = createActor(tabMachine.provide({ actors } as never), { input, clock, inspect })
  }

  readonly #say = (message: Said) => this.#channel?.postMessage({ ...message, tab: this.#setup.input.tab })

  #openChannel(tell: Tell, receive: (listener: (command: ChannelCommand) => void) => void) {
    const channel = this.#setup.openChannel(this.#setup.name)
    this.#channel = channel
    channel.addEventListener('message', ({ data }) => {
      const message = parseMessage(data)
      if (message && this.#channel === channel && message.tab !== this.#setup.input.tab) this.#hear(message, tell)
    })
    receive(this.#say)
    return () => {
      this.#say({ type: 'bye' })
      channel.close()
      this.#channel = null
    }
  }

  #queue(tell: Tell, receive: (listener: (command: EventObject) => void) => void) {
    const lock = new TabLock(this.#setup.locks, this.#setup.name, tell)
    receive(lock.steal)
    lock.wait()
    return lock.end
  }

  #hear(message: TabMessage, tell: Tell) {
    const { tab } = this.#setup.input
    this.#line?.hear(message)
    if (message.type === 'line') this.#hearLine(message, tell)
    else if (message.type === 'frame') this.#hearFrame(message, tell)
    else if (message.type === 'want') tell({ type: 'tab.wanted', tab: message.tab, standing: message.standing })
    else if (message.type === 'cede' && message.to === tab) tell({ type: 'leader.ceded' })
    else if (message.type === 'answer' && message.to === tab) this.#followed.hear(message)
    else if (message.type === 'end') tell({ type: 'tab.ended' })
  }

  /** Nothing but what was checked becomes an event. */
  #hearLine({ tab, term, standing, n, welcome, error, tabs }: Of<'line'>, tell: Tell) {
    if (term === this.#deaf) return
    const known = welcome === null ? undefined : parseWelcome(welcome)
    const fitness = fitnessOf(known?.features ?? [])
    const line = known?.connectionId ?? null
    if (this.#isLeader(tab, term) || term > this.#context.term) this.#error = error ? toError(error) : LOST
    tell({ type: 'leader.told', tab, term, standing, line, fitness: line === null ? 'fit' : fitness })
    if (!this.#isLeader(tab, term)) return
    this.#welcome = welcome ?? ''
    this.#signs++
    if (this.#heard.term !== term) this.#unheardSince = null
    this.#countFrame(term, n, n, tell)
    this.#countNames(tabs, term, tell)
  }

  /** A leader that does not hear this tab is none. */
  #countNames(tabs: readonly string[], term: number, tell: Tell) {
    const { input, clock } = this.#setup
    if (tabs.includes(input.tab)) {
      this.#unheardSince = null
      return
    }
    this.#unheardSince ??= clock.now()
    const unheard = clock.now() - this.#unheardSince
    if (unheard > SILENCE) {
      this.#unheardSince = null
      this.#deaf = term
      tell({ type: 'leader.silent' })
    } else if (unheard > GREET_AGAIN) this.#say({ type: 'hello', standing: this.#context.standing })
  }

  #hearFrame({ tab, term, n, data, to }: Of<'frame'>, tell: Tell) {
    if (!this.#isLeader(tab, term)) return
    this.#signs++
    this.#countFrame(term, n - 1, n, tell)
    if (to === null || to === this.#setup.input.tab) this.#setup.carrier.hear(data)
  }

  /** `before`: the number that must have been heard. */
  #countFrame(term: number, before: number, n: number, tell: Tell) {
    if (this.#heard.term === term && this.#heard.n !== before) tell({ type: 'frames.lost' })
    this.#heard = { term, n }
  }

  get #context() {
    return this.actor.getSnapshot().context
  }

  #isLeader(tab: string, term: number) {
    const { leader, term: current } = this.#context
    return tab === leader && term === current
  }

  #join(tell: Tell, { line }: JoinInput) {
    const { carrier } = this.#setup
    const abort = new AbortController()
    carrier
      .prove(line, abort, () => tell({ type: 'join.proved' }))
      .catch((error: ConnectionError) => {
        if (abort.signal.aborted) return
        if (error.code === 'unknown-stream') return tell({ type: 'join.refused' })
        tell({ type: 'join.failed' })
        carrier.drop(error)
      })
    return () => abort.abort()
  }

  #relay() {
    const { carrier } = this.#setup
    carrier.follow(this.#followed, this.#welcome)
    return () => {
      this.#followed.end()
      carrier.drop(this.#error)
    }
  }

  #lead(tell: Tell, receive: (listener: (command: LineCommand) => void) => void, { term, standing }: LineInput) {
    const { carrier, clock, timeout, input, doubted } = this.#setup
    const setup = {
      tab: input.tab,
      term,
      clock,
      timeout,
      carrier: carrier.real,
      say: this.#say,
      hear: (data: string, frame: unknown) => carrier.hear(data, frame),
      unfit: () => tell({ type: 'line.unfit' }),
      doubted,
    }
    const line = new SharedLine(setup, standing)
    this.#line = line
    receive((command) => {
      line.standing = command.standing
      line.announce()
    })
    carrier.use(line)
    return () => {
      this.#line = null
      line.end()
      carrier.drop(LOST)
    }
  }

  #goAlone() {
    const { carrier } = this.#setup
    carrier.use('own')
    return () => carrier.drop(LOST)
  }
}
