import type { ConnectionErrorCode } from '../errors'

/**
 * Each status has one meaning (`TABLE`). `outbox/judge.ts` decides by it what becomes of a message,
 * the machine what becomes of a resume.
 *
 * | meaning | of a POST it says | of a message | of a resume |
 * | --- | --- | --- | --- |
 * | `accepted` | done | its verdict | it succeeded |
 * | `credentials` | not with these headers | the line stops, unless the `headers` hook has better ones | the same |
 * | `stream` | the stream is unknown, unless the endpoint is (see `outbox/missingEndpoints.ts`) | repeated on a fresh stream | a fresh stream |
 * | `gone` | what it is about is gone | `rejected`, or `unknown` as after `conflict` | a fresh stream |
 * | `early` | one before it has to be repeated first | repeated behind that one; no failure of its own, and a batch keeps its size | backoff |
 * | `quota` | too much of this client | repeated after a pause; a batch keeps its size | backoff |
 * | `busy` | the server asks to come back | repeated after a pause | backoff |
 * | `later` | it may pass | repeated after a pause | backoff |
 * | `conflict` | the state forbids it, which may be the work of a first POST | `rejected`; `unknown` without `idempotency` | the line stops |
 * | `refused` | no | `rejected` | the line stops |
 */
export type StatusMeaning =
  | 'accepted'
  | 'credentials'
  | 'stream'
  | 'gone'
  | 'early'
  | 'quota'
  | 'busy'
  | 'later'
  | 'conflict'
  | 'refused'

/** `code` is that of the error; without one it is `http`. */
type Row = readonly [meaning: StatusMeaning, code?: ConnectionErrorCode]

/** Leads to a login page, or nowhere: `fetch` has followed it already, or cannot. */
const REDIRECT: Row = ['later', 'redirected']

/**
 * The one table of HTTP statuses. Whatever is not in it is `accepted` if 2xx, `refused` if 4xx,
 * else `later`.
 *
 * [spec] RFC 9110 §15.5.10, §15.5.11 and RFC 4918 §11.3: 409, 410 and 423 are about the state of a
 * resource. Browsers and Deno repeat a POST by themselves when a kept-alive socket is reset, so
 * that state may be the work of the first one.
 */
const TABLE: Readonly<Partial<Record<number, Row>>> = {
  204: ['accepted', 'ended'],
  301: REDIRECT,
  302: REDIRECT,
  303: REDIRECT,
  307: REDIRECT,
  308: REDIRECT,
  401: ['credentials', 'unauthorized'],
  403: ['refused', 'forbidden'],
  404: ['stream', 'unknown-stream'],
  408: ['later'],
  409: ['conflict'],
  410: ['gone', 'unknown-stream'],
  423: ['conflict'],
  425: ['early'],
  429: ['quota'],
  503: ['busy'],
}

/**
 * The codes of the statuses that refuse a stream for good. Any other status is `stream-failed`,
 * which is tried again.
 */
export const REFUSALS: readonly ConnectionErrorCode[] = ['unauthorized', 'forbidden', 'ended']

/** 0 stands for no answer at all. */
export function meaningOf(status = 0): StatusMeaning {
  if (status >= 200 && status < 300) return 'accepted'
  return TABLE[status]?.[0] ?? (isUnapplied(status) ? 'refused' : 'later')
}

export const codeOf = (status: number): ConnectionErrorCode => TABLE[status]?.[1] ?? 'http'

/** Whether a message is repeated after it, unchanged, now or on a fresh stream. */
export const isToBeRepeated = (status: number) =>
  !['accepted', 'gone', 'conflict', 'refused'].includes(meaningOf(status))

/** Whether another try, unchanged, or a fresh stream can help. */
export const mayPass = (status: number) => !['credentials', 'conflict', 'refused'].includes(meaningOf(status))

/** Whether it says when to come back. */
export const asksToWait = (status: number) => ['quota', 'busy'].includes(meaningOf(status))

/**
 * Whether the server says that it has done nothing. After anything else, and after no answer at
 * all, it may have.
 */
export const isUnapplied = (status: number) => status >= 400 && status < 500

/**
 * Unless the answer says in JSON what went wrong, it may be that of a proxy in front of a dead
 * server.
 */
export const isServerFault = (status: number) => status >= 500
