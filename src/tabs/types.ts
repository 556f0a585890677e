import type { ConnectionError } from '../errors'

/**
 * How fit a tab is to lead; a worker more than a page that is seen, that more than a hidden one.
 */
export type Standing = 'hidden' | 'visible' | 'worker'

/** What a tab is to the others. Each state of the machine carries one as its tag. */
export type TabRole = 'apart' | 'electing' | 'following' | 'leading' | 'own' | 'away'

/** What the machine knows of the world when it begins. */
export interface TabInput {
  /** The tab's own name. */
  readonly tab: string
  readonly standing: Standing
  /** Wall-clock time, ms since the epoch; one clock for all tabs of a browser. */
  readonly now: () => number
  /** ≥ 0 and < 1. */
  readonly random: () => number
}

export interface TabContext extends TabInput {
  /** Number of the latest leadership that is known. */
  readonly term: number
  /** The tab that leads; null if none is known. */
  readonly leader: string | null
  /** The stream that the leader holds, by its connectionId; null while there is none. */
  readonly line: string | null
  /** Whether this tab's connection has a stream open, or waits for one. */
  readonly stream: 'wanted' | 'unwanted'
  /** When this tab stole the lock last, ms since the epoch. */
  readonly stolenAt: number
  /** The tab that takes over. */
  readonly heir: string | null
}

/** What a leader tells of itself and its line. */
export interface Told {
  readonly tab: string
  readonly term: number
  readonly standing: Standing
  readonly line: string | null
  /** Whether the server has what sharing takes. */
  readonly fitness: 'fit' | 'unfit'
}

export type LockFact =
  | { type: 'lock.granted' }
  /** It was stolen. */
  | { type: 'lock.lost' }
  | { type: 'lock.failed'; error: unknown }

export type TabEvent =
  | LockFact
  /** The connection opens a stream. */
  | { type: 'stream.wanted' }
  /** It has closed it. */
  | { type: 'stream.unwanted' }
  /** The connection is idle. */
  | { type: 'leave' }
  /** The app has ended the line for every tab. */
  | { type: 'end' }
  | { type: 'page.shown' }
  | { type: 'page.hidden' }
  /** Frozen, or on its way into the back/forward cache, or away. */
  | { type: 'page.left' }
  | { type: 'page.back' }
  | ({ type: 'leader.told' } & Told)
  | { type: 'leader.silent' }
  /** The leader has made room for this tab. */
  | { type: 'leader.ceded' }
  | { type: 'tab.wanted'; tab: string; standing: Standing }
  /** Another tab has ended the line for every tab. */
  | { type: 'tab.ended' }
  | { type: 'join.proved' }
  /** The stream is unknown, to these credentials. */
  | { type: 'join.refused' }
  | { type: 'join.failed' }
  /** The relay has a gap. */
  | { type: 'frames.lost' }
  /** This tab leads, and the server lacks what sharing takes. */
  | { type: 'line.unfit' }

export type TabEmitted =
  /** There may be a stream now. */
  | { type: 'ready' }
  /** From now on this tab has a line of its own. */
  | { type: 'own'; error: ConnectionError }
  | { type: 'ended' }

/** What the `channel` actor is told to say. */
export type ChannelCommand =
  | { type: 'hello'; standing: Standing }
  | { type: 'want'; standing: Standing }
  | { type: 'cede'; to: string }
  | { type: 'doubt'; line: string }
  | { type: 'end' }
/** What the `line` actor is told. */
export type LineCommand = { type: 'tell'; standing: Standing }
export type LineInput = { readonly term: number; readonly standing: Standing }
export type JoinInput = { readonly line: string }
