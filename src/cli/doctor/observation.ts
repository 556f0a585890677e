import type { JsonObject } from '../../protocol'

/** The chat that is looked at, and as whom. */
export interface Target {
  /** The base URL of the endpoints. */
  readonly url: URL
  /** The origin of the page that calls it. */
  readonly page: string
  /** Names of headers that a page would send beside those of the client. */
  readonly headerNames: readonly string[]
  readonly hasCookie: boolean
  /** How long an answer is waited for, ms. */
  readonly timeout: number
}

/** It did not come to that; why, in a few words. */
export interface Failure {
  readonly failed: string
}
export type Outcome<T> = T | Failure

export interface Address {
  readonly addresses: readonly string[]
  readonly ms: number
}

export interface Tls {
  /** As `TLSv1.3`. */
  readonly version: string
  /** What was agreed on when HTTP/2 and HTTP/1.1 were offered; undefined if nothing was. */
  readonly http: 'h2' | 'http/1.1' | undefined
  /** Why browsers do not trust the certificate. */
  readonly distrust: string | undefined
  /** Days until the certificate ends. */
  readonly days: number
}

/** A request and its answer. */
export interface Exchange {
  readonly request: string
  readonly status: number
  readonly headers: Headers
  /** Nothing of a stream that goes on. */
  readonly text: string
  /** Until the headers were here. */
  readonly ms: number
}

/** A redirect that was answered, whether it was followed or not. */
export interface Hop {
  readonly method: string
  readonly status: number
  readonly from: string
  readonly to: string
}

/** A probe whose answer comes over the stream. Times are ms since the stream was asked for. */
export interface Probe {
  readonly sent: number
  /** undefined if the POST failed. */
  readonly answered: number | undefined
  readonly status: number | undefined
  /** undefined if it never came. */
  readonly came: number | undefined
}

/** A stream that was left to itself. */
export interface Hold {
  /** ms. */
  readonly asked: number
  /** How long the stream was open in all, ms. */
  readonly age: number
  readonly ending: 'open' | 'ended' | 'cut'
  readonly hasFarewell: boolean
  /** How long no byte came at the end, and how long at most before that, ms. */
  readonly silence: number
  readonly longestSilence: number
  /** How long no frame came at most, the end included, ms. Comments are none. */
  readonly longestGap: number
}

/** The end of a stream that was to go on. */
export interface Over {
  readonly how: 'ended' | 'cut'
  /** How long the stream was open, ms. */
  readonly age: number
  readonly hasFarewell: boolean
}

/** A stream whose answer was 200 `text/event-stream`. */
export interface StreamSight {
  readonly opened: Exchange
  /** When its first frame came, and what it was, if it was a welcome or not. */
  readonly first: { readonly ms: number; readonly name: string | undefined; readonly json: JsonObject } | undefined
  /** Of no first frame: how much came all the same, bytes. */
  readonly bytes: number
  /** It was over before it was left alone. */
  readonly over: Over | undefined
  readonly probes: readonly Probe[]
  readonly hold: Hold | undefined
}

/** All that was seen, in its order. A part that an earlier one has made impossible is absent. */
export interface Observation {
  readonly target: Target
  readonly address: Outcome<Address>
  /** Of an http: URL only where nothing has answered. */
  readonly tls?: Outcome<Tls>
  /** `GET events?ask`, which a stream is not needed for. */
  readonly ask?: Outcome<Exchange>
  readonly preflight?: Outcome<Exchange>
  /** An Exchange, if it was no stream. */
  readonly down?: Outcome<StreamSight | Exchange>
  /** The first POST. */
  readonly up?: Outcome<Exchange>
  readonly hops: readonly Hop[]
  /** The answer to a request that is no HTTP; only asked for where no header names a server. */
  readonly blunder?: string
  /** Vite's own script is served there. */
  readonly hasViteClient?: boolean
}

export const isFailure = (outcome: object): outcome is Failure => 'failed' in outcome
export const isStream = (outcome: object): outcome is StreamSight => 'opened' in outcome
export const isCrossOrigin = ({ url, page }: Target) => page !== url.origin

/** [spec] Secure Contexts: browsers count these as safe, and send Fetch Metadata to them. */
export const isTrustworthy = ({ protocol, hostname }: URL) =>
  protocol === 'https:' || /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)
