import { watchSilence } from '../adapters/silence'
import type { Clock } from '../environment'
import { ConnectionError } from '../errors'
import {
  type Cursor,
  isObject,
  isSeq,
  isText,
  type JsonObject,
  MAX_SESSIONS_PER_RESUME,
  parseVerdicts,
  type SessionVerdict,
} from '../protocol'
import { type Ask, cursorOf, gather, judge, type Place, type Round, type Turn } from './round'

export interface ResumesSetup {
  readonly clock: Clock
  /** Without a frame for so long, a round has failed. ms. */
  readonly timeout: number
  post(endpoint: 'reconnect' | 'unwatch', body: string): Promise<unknown>
}

/**
 * The resumes of all tabs on one stream, merged: one at a time, each session from the lowest cursor
 * of those who want it. docs/internals/tabs.md says how.
 */
export class Resumes {
  readonly #setup: ResumesSetup
  readonly #places = new Map<string, Place>()
  #turns: Turn[] = []
  #turn: Round | 'detaching' | null = null
  #rounds = 0
  #frames = 0

  constructor(setup: ResumesSetup) {
    this.#setup = setup
  }

  /** The `resumeId` of the last round; null before the first. */
  get last(): string | null {
    return this.#rounds ? `t${this.#rounds}` : null
  }

  sessionsOf(tab: string): readonly string[] {
    return [...this.#places].flatMap(([sessionId, { tabs }]) => (tabs.has(tab) ? sessionId : []))
  }

  get tabs(): readonly string[] {
    return [...new Set([...this.#places.values()].flatMap(({ tabs }) => [...tabs]))]
  }

  /** Where the stream stands. */
  get cursors(): readonly Cursor[] {
    return [...this.#places.values()].flatMap(({ cursor }) => cursor ?? []).slice(0, MAX_SESSIONS_PER_RESUME)
  }

  attend(tab: string, sessionIds: readonly string[]) {
    for (const sessionId of sessionIds) this.#place(sessionId).tabs.add(tab)
  }

  resume(tab: string, open: readonly Cursor[]): Promise<readonly SessionVerdict[]> {
    this.attend(
      tab,
      open.map(({ sessionId }) => sessionId),
    )
    return new Promise((settle, fail) => this.#add({ tab, open, strays: new Set(), verdicts: [], settle, fail }))
  }

  /** The tab wants the session no more. It is detached once no tab does. */
  leave(tab: string, sessionId: string): Promise<void> {
    this.#places.get(sessionId)?.tabs.delete(tab)
    return new Promise((settle, fail) => this.#add({ detach: sessionId, settle, fail }))
  }

  /** What the next round wants is posted, wherever the stream stands. */
  letGo() {
    for (const place of this.#places.values()) place.state = 'loose'
  }

  /** A frame of the stream. True: it is a marker of these resumes, and for no tab. */
  hear({ type, sessionId, seq, epoch, resumeId, sessions }: JsonObject): boolean {
    this.#frames++
    if (isText(sessionId) && isSeq(seq)) {
      const place = this.#places.get(sessionId)
      if (place) place.cursor = cursorOf(sessionId, seq, epoch ?? place.cursor?.epoch)
      return false
    }
    if (type !== 'reconnected') return false
    const round = this.#turn
    if (round !== null && round !== 'detaching' && round.id === resumeId) {
      this.#learn(round, { sessions })
      if (round.state === 'answered') this.#finish(round)
      else round.state = 'marked'
    }
    return true
  }

  /** The stream is over. */
  end(error: unknown) {
    const turn = this.#turn
    this.#turn = null
    const asks = turn !== null && turn !== 'detaching' ? turn.asks : []
    if (turn !== null && turn !== 'detaching') turn.stopWatch()
    const turns = this.#turns
    this.#turns = []
    for (const waiting of [...asks, ...turns]) waiting.fail(error)
    this.#places.clear()
  }

  #place(sessionId: string): Place {
    const place = this.#places.get(sessionId) ?? { tabs: new Set(), cursor: null, state: 'loose' }
    this.#places.set(sessionId, place)
    return place
  }

  #add(turn: Turn) {
    this.#turns.push(turn)
    this.#pump()
  }

  #pump() {
    const [next] = this.#turns
    if (this.#turn || !next) return
    if ('detach' in next) this.#detach(next)
    else this.#begin(this.#takeAsks())
  }

  #detach(turn: Extract<Turn, { detach: string }>) {
    const { detach: sessionId } = turn
    this.#turns.shift()
    if (this.#places.get(sessionId)?.tabs.size) {
      turn.settle()
      return this.#pump()
    }
    this.#places.delete(sessionId)
    this.#turn = 'detaching'
    const body = JSON.stringify({ type: 'unwatch', sessionId })
    this.#setup
      .post('unwatch', body)
      .then(() => turn.settle(), turn.fail)
      .then(() => {
        if (this.#turn !== 'detaching') return
        this.#turn = null
        this.#pump()
      })
  }

  /** As many of the first as go into one POST. */
  #takeAsks(): readonly Ask[] {
    const sessions = new Set<string>()
    const asks: Ask[] = []
    for (const turn of this.#turns) {
      if ('detach' in turn) break
      for (const { sessionId } of turn.open) sessions.add(sessionId)
      if (asks.length && sessions.size > MAX_SESSIONS_PER_RESUME) break
      asks.push(turn)
    }
    this.#turns.splice(0, asks.length)
    return asks
  }

  #begin(asks: readonly Ask[]) {
    const { sessions, ...parts } = gather(asks, this.#places)
    this.#post(parts, sessions)
  }

  #post(parts: Omit<Round, 'id' | 'stopWatch'>, sessions: readonly Cursor[]) {
    const { clock, timeout, post } = this.#setup
    if (!sessions.length) return this.#finish({ ...parts, id: '', stopWatch() {} })
    const id = `t${++this.#rounds}`
    const fail = (error: unknown) => {
      if (this.#turn !== round) return
      round.stopWatch()
      this.#turn = null
      for (const ask of round.asks) ask.fail(error)
      this.#pump()
    }
    const late = new ConnectionError('timeout', `the resume of the shared line stalled for ${timeout} ms`)
    const stopWatch = watchSilence(
      clock,
      timeout,
      () => this.#frames,
      () => fail(late),
    )
    const round: Round = { ...parts, id, stopWatch }
    this.#turn = round
    post('reconnect', JSON.stringify({ type: 'reconnect', resumeId: id, sessions })).then((json) => {
      if (this.#turn !== round) return
      if (json === undefined || (isObject(json) && json.ok === false))
        return fail(new ConnectionError('bad-response', 'POST reconnect: no JSON, or ok: false', { cause: json }))
      this.#learn(round, json)
      if (round.state === 'marked') this.#finish(round)
      else round.state = 'answered'
    }, fail)
  }

  #learn({ verdicts }: Round, answer: unknown) {
    for (const verdict of parseVerdicts(answer)) verdicts.set(verdict.sessionId, verdict)
  }

  /** The replay is through: each ask is judged, and what is still open goes into the next round. */
  #finish(round: Round) {
    round.stopWatch()
    const again: Turn[] = []
    const lost = [...round.lowest.keys()].flatMap((sessionId) => this.#settle(round, sessionId) ?? [])
    if (lost.length) again.push({ tab: null, open: lost, strays: new Set(), verdicts: [], settle() {}, fail() {} })
    for (const ask of round.asks) {
      ask.open = ask.open.filter((cursor) => !judge(round, ask, cursor))
      if (ask.open.length) again.push(ask)
      else ask.settle(ask.verdicts)
    }
    this.#turns.unshift(...again)
    this.#turn = null
    this.#pump()
  }

  /**
   * Where the stream stands now. Returns the cursor from which it has to go on for tabs that did
   * not ask, if a `reset` has taken it beyond.
   */
  #settle({ lowest, before, verdicts }: Round, sessionId: string): Cursor | undefined {
    const verdict = verdicts.get(sessionId)
    const place = this.#places.get(sessionId)
    if (!verdict || !place) return undefined
    const { status, to, epoch } = verdict
    if (status === 'gone' || status === 'forbidden') {
      this.#places.delete(sessionId)
      return undefined
    }
    place.state = 'attached'
    const seen = status === 'resumed' ? (place.cursor?.lastSeq ?? 0) : 0
    place.cursor = cursorOf(sessionId, Math.max(seen, to), epoch ?? place.cursor?.epoch)
    const stood = before.get(sessionId)
    const isLost = status === 'reset' && stood && stood !== lowest.get(sessionId) && stood.lastSeq < to
    return isLost ? stood : undefined
  }
}
