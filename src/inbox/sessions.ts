import type { Notifier } from '../connection/notifier'
import type { Settings } from '../connection/options'
import type { CursorStore } from '../connection/store'
import { ConnectionError } from '../errors'
import { type Cursor, HEAD, MAX_SESSIONS_PER_RESUME, type SessionVerdict } from '../protocol'
import { Quiet } from './quiet'
import { type Opener, Session } from './session'
import { StaleReport } from './staleReport'

/** Before the stored cursors were read. `unplaced`: watched, wherever it stands. */
type Early = Map<string, 'unplaced' | 'placed'>

/** The tracked sessions and their bounds, what the next resume carries, and the cursor store. */
export class Sessions {
  protected readonly tracked = new Map<string, Session>()
  /** Untracked on purpose: this stream’s events of them are dropped, the next is not asked. */
  #closed: Set<string> | undefined
  /** Those that the server has opened. */
  #opened = 0
  /** The app was told that there was no room for another one. */
  #isFullTold = false
  #changed: Set<string> | undefined
  protected readonly stale: StaleReport
  #early: Early | undefined
  readonly #store: CursorStore | null
  declare protected readonly settings: Settings
  declare protected readonly notifier: Notifier
  protected readonly quiet: Quiet

  constructor(
    settings: Settings,
    store: CursorStore | null,
    notifier: Notifier,
    onQuiet: (sessionIds: readonly string[]) => void,
  ) {
    this.settings = settings
    this.notifier = notifier
    this.#store = store
    this.quiet = new Quiet(this.tracked, settings.clock, onQuiet)
    this.stale = new StaleReport(this.tracked, settings.clock, notifier)
  }

  enterStream() {
    this.#closed = new Set()
  }

  leaveStream() {
    this.#closed = undefined
  }

  /** Tracks the stored cursors, perhaps later, and the app’s, which are nearer to the truth. */
  protected load(onRead: () => void) {
    if (this.#store) this.#early = new Map()
    this.#store?.read((cursors) => {
      this.#restore(cursors, this.#early as Early)
      onRead()
    })
    for (const { sessionId, lastSeq, epoch } of this.settings.cursors) this.#track(sessionId, lastSeq, epoch, 'app')
  }

  /** What the app has said or got while the storage was read is nearer to what it has applied. */
  #restore(cursors: readonly Cursor[], early: Early) {
    this.#early = undefined
    for (const { sessionId, lastSeq, epoch } of cursors) {
      const known = this.tracked.get(sessionId)
      const isMoved = known && (known.lastSeq > 0 || known.epoch !== undefined)
      if (isMoved || (early.get(sessionId) ?? (known && 'placed')) === 'placed') continue
      this.#track(sessionId, lastSeq, epoch, known ? 'app' : 'storage').wantedBy = 'app'
      // It is what is stored.
      this.#changed?.delete(sessionId)
      early.delete(sessionId)
    }
    for (const sessionId of early.keys()) this.save(sessionId)
  }

  /** A listener may have untracked the session, or watched it anew. */
  protected isCurrent(session: Session): boolean {
    return session.state === 'tracked'
  }

  /** Of an event: undefined if the session is closed, or one too many that nobody watches. */
  protected of(sessionId: string, seq: number): Session | undefined {
    const session = this.tracked.get(sessionId)
    if (session || this.#closed?.has(sessionId)) return session
    if (this.#opened < this.settings.inbound.maxSessions) {
      this.quiet.watch()
      return this.#track(sessionId, seq - 1, undefined, 'server')
    }
    if (!this.#isFullTold) {
      const why = `events of new sessions like ${sessionId} are dropped: watch() it, or raise inbound.maxSessions`
      this.notifier.report(new ConnectionError('too-many-sessions', why))
    }
    this.#isFullTold = true
    return undefined
  }

  #track(sessionId: string, lastSeq: number, epoch: string | undefined, openedBy: Opener): Session {
    this.#leave(sessionId)
    if (openedBy !== 'app') this.#opened++
    const session = new Session(sessionId, lastSeq, epoch, openedBy)
    const known = this.tracked.get(sessionId)
    session.watchers = known?.watchers
    if (known) known.state = 'left'
    this.tracked.set(sessionId, session)
    this.save(sessionId)
    return session
  }

  /** Makes room, if it was not the app that opened it. */
  #leave(sessionId: string) {
    if ((this.tracked.get(sessionId)?.openedBy ?? 'app') === 'app') return
    this.#opened--
    this.#isFullTold = false
  }

  protected advance(session: Session, seq: number) {
    if (seq <= session.lastSeq) return
    session.lastSeq = seq
    if (this.#store) this.save(session.sessionId)
  }

  /** Stores the cursor: once for all events of one chunk, and before the page can go away. */
  protected save(sessionId: string) {
    const store = this.#store
    if (!store || this.#early?.get(sessionId) === 'unplaced') return
    if (!this.#changed) {
      const changed = new Set<string>()
      this.#changed = changed
      queueMicrotask(() => {
        this.#changed = undefined
        for (const id of changed) store.put(id, this.tracked.get(id)?.cursor)
      })
    }
    this.#changed.add(sessionId)
  }

  leftOvers(): readonly Cursor[] {
    return [...this.tracked.values()]
      .filter(({ wantedBy, hasHole }) => wantedBy || hasHole)
      .slice(0, MAX_SESSIONS_PER_RESUME)
      .map(({ cursor }) => cursor)
  }

  /** Whether the server has made one of them necessary. */
  hasHole(): boolean {
    return [...this.tracked.values()].some(({ wantedBy, hasHole }) => wantedBy === 'server' || (!wantedBy && hasHole))
  }

  /** Whether it was taken for attached, and is tracked: then the next resume carries it. */
  want(sessionId: string): boolean {
    const session = this.tracked.get(sessionId)
    if (!session || session.wantedBy) return false
    session.wantedBy = 'app'
    return true
  }

  /** False if it was tracked already. Only one that has lost history is moved to `after`. */
  watch(sessionId: string, after: number | Cursor | undefined): boolean {
    this.#closed?.delete(sessionId)
    const known = this.tracked.get(sessionId)
    const isPlaced = after !== undefined && known?.history !== 'kept'
    if (isPlaced) this.#early?.set(sessionId, 'placed')
    else if (!known && !this.#early?.has(sessionId)) this.#early?.set(sessionId, 'unplaced')
    const { lastSeq, epoch } = typeof after === 'object' ? after : { lastSeq: after ?? 0, epoch: known?.epoch }
    if (known && (!isPlaced || (lastSeq === known.lastSeq && epoch === known.epoch))) {
      this.#leave(sessionId)
      known.openedBy = 'app'
      if (isPlaced) known.history = 'kept'
      return false
    }
    known?.endBacklog()
    this.#track(sessionId, lastSeq, lastSeq === HEAD ? undefined : epoch, 'app').wantedBy = 'app'
    return true
  }

  /** Returns what takes one `watch` back, once: true for the last one of a tracked session. */
  hold(sessionId: string): () => boolean {
    const session = this.tracked.get(sessionId) as Session
    session.watchers ??= new Set()
    const { watchers } = session
    const takeBack = () => watchers.delete(takeBack) && !watchers.size
    watchers.add(takeBack)
    return takeBack
  }

  unwatch(sessionId: string) {
    this.forget(sessionId)
    if (!this.#closed) return
    const { size } = this.#closed.add(sessionId)
    // A server may close what it has opened, over and over.
    const { maxSessions } = this.settings.inbound
    for (const oldest of this.#closed) if (size > maxSessions) return this.#closed.delete(oldest)
  }

  /** The server sends nothing of it. */
  protected lose({ sessionId, status, from, to, error }: SessionVerdict) {
    this.unwatch(sessionId)
    if (error) {
      const why = `no events of session ${sessionId}: its stream is full; unwatch() some, then watch() it`
      this.notifier.report(new ConnectionError(error, why))
    }
    this.notifier.tell('session', { sessionId, status, from, to })
  }

  /** A message to it has come one step further: its events are still to come. */
  touch(sessionId: unknown) {
    const session = this.tracked.get(sessionId as string)
    if (session) session.cursorAtLook = undefined
  }

  /** Only its events tracked it, and they are old: its next event tracks it anew. */
  release(sessionId: string) {
    const { lastSeq = 0 } = this.tracked.get(sessionId) ?? {}
    this.forget(sessionId)
    this.notifier.tell('session', { sessionId, status: 'released', from: lastSeq, to: lastSeq })
  }

  /** As if it had never been tracked: its next event tracks it anew. */
  forget(sessionId: string) {
    this.#early?.set(sessionId, 'placed')
    this.#closed?.delete(sessionId)
    const known = this.tracked.get(sessionId)
    known?.endBacklog()
    known?.watchers?.clear()
    if (known) known.state = 'left'
    this.#leave(sessionId)
    this.tracked.delete(sessionId)
    this.save(sessionId)
  }

  /** The app has it up to here from elsewhere. The server hears of it with the next resume. */
  skip(sessionId: string, seq: number) {
    this.#closed?.delete(sessionId)
    this.advance(this.tracked.get(sessionId) ?? this.#track(sessionId, seq, undefined, 'app'), seq)
  }

  cursor(sessionId: string): Cursor | undefined {
    return this.tracked.get(sessionId)?.cursor
  }

  cursors(): readonly Cursor[] {
    return Array.from(this.tracked.values(), ({ cursor }) => cursor)
  }

  rest() {
    this.stale.rest()
    this.quiet.rest()
    for (const { backlog } of this.tracked.values()) backlog?.rest()
  }
}
