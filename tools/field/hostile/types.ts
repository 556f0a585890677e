import type { Redis } from 'ioredis'

export type Wire = 'http' | 'websocket'
export type LogKind = 'memory' | 'redis'

/** Where the server is, as an attacker sees it. */
export interface Target {
  /** Base URL of the endpoints. */
  readonly url: string
  readonly over: Wire
  readonly log: LogKind
  /** A Redis of somebody who may do nothing but PUBLISH; undefined for the memory log. */
  readonly redis: string | undefined
  /** Base URL of what the app and its operator do: see `ServerControl`. */
  readonly control: string
}

/** What an attack itself has found, beside what is measured around it. */
export interface Findings {
  /** One sentence for each rule that was broken: what was seen, and what was expected. */
  readonly failures: readonly string[]
  readonly facts: Readonly<Record<string, number | string>>
}

export interface Attack {
  /** Of the failure catalogue. */
  readonly row: string
  readonly name: string
  readonly over: readonly Wire[]
  readonly logs: readonly LogKind[]
  /** How long it goes on, s. Default: 3.5. */
  readonly seconds?: number
  /** Runs in a process of its own until `signal`; bounded in count and bandwidth by itself. */
  run(target: Target, signal: AbortSignal): Promise<Findings>
  /** A look into Redis afterwards: one sentence for each rule that was broken. */
  audit?(redis: Redis): Promise<readonly string[]>
}
