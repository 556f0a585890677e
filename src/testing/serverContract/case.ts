import type { JsonObject } from '../../protocol'

/** The topics of the cases, in the order in which they run. */
export const SERVER_TOPICS = [
  'stream',
  'welcome',
  'resume',
  'replay',
  'events',
  'marker',
  'watch',
  'probe',
  'heartbeat',
  'idempotency',
  'receipts',
  'batch',
  'order',
  'refusals',
  'streams',
  'origin',
  'input',
  'suspend',
  'storms',
  'goodbye',
] as const
export type ServerTopic = (typeof SERVER_TOPICS)[number]

/** The server that is held against the contract, and how to make it talk. */
export interface ServerContractOptions {
  /** The base URL: the stream is `{url}/events`, an endpoint is `{url}/{endpoint}`. */
  readonly url: string
  /**
   * A message that makes the server talk. In its texts `{session}` stands for a session that only
   * one case uses, and `{text}` for what a user types. A message whose `sessionId` is another text
   * talks in that session, which then has to be there. Default: `{ type: 'send', sessionId:
   * '{session}', prompt: '{text}' }`.
   */
  readonly send?: JsonObject | undefined
  /**
   * Where `send` is posted. Default: the endpoint of its type in docs/protocol.md, else its type.
   */
  readonly endpoint?: string | undefined
  /**
   * How many events of its session one `send` makes, exactly. Default: unknown, one at least; that
   * a message is applied once is then told by the events that have its text.
   */
  readonly events?: number | undefined
  /**
   * Sent with each request: those of a user who may read and write the sessions, such as
   * `Authorization` or `Cookie`. Default: none.
   */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * The headers of another user, who must not read the sessions of the first one. Default: none,
   * so the cases that need one are skipped.
   */
  readonly secondUser?: Readonly<Record<string, string>> | undefined
  /**
   * Makes the server end its streams, as for a deployment. It is the last that is done, and may be
   * done twice. Default: none, so the cases that need it are skipped.
   */
  readonly goodbye?: (() => unknown) | undefined
  /** How long something that has to come is waited for, ms. Default: 5,000. */
  readonly timeout?: number | undefined
  /** Default: the global one. */
  readonly fetch?: typeof globalThis.fetch | undefined
}

/** How a case ended that has found no fault. */
export type ServerVerdict =
  | { readonly outcome: 'passed' }
  /** The server has not announced it, so it owes it to nobody. */
  | { readonly outcome: 'notPromised'; readonly why: string }
  /** An option is missing, or a rule is broken that it rests on. */
  | { readonly outcome: 'skipped'; readonly why: string }

/** One rule of docs/protocol.md. */
export interface ServerCase {
  /** `P12`: the rule is `docs/protocol.md#p12`. */
  readonly number: string
  readonly topic: ServerTopic
  /** As in RFC 2119. A server may have a reason to break a rule that is `should`. */
  readonly level: 'must' | 'should'
  /** The number and the rule, in a sentence. */
  readonly title: string
  /**
   * Rejects with an Error where the rule is broken: it says what was sent, what came and what the
   * rule says. Rejects with a TypeError that names the option if one is invalid or unknown.
   *
   * @param broken the numbers of rules that are known to be broken: a case that rests on one of
   * them is skipped
   */
  run(options: ServerContractOptions, broken?: ReadonlySet<string>): Promise<ServerVerdict>
}
