import type { Serve } from './contractLine'

/** What a transport may be unable to tell. The table of docs/transports.md has a row for each. */
export type ContractPromise =
  /** The HTTP status with which a stream was refused, or a word for it. */
  | 'stream-status'
  /** How long a refused stream is to wait. */
  | 'stream-retry-after'
  /** That a POST is repeated with fresh headers after a 401. */
  | 'renewal-of-posts'
  /** That a comment on the stream is a sign of life. */
  | 'comments'
  /** That a line of the stream may end in CR, LF or CRLF. */
  | 'line-ends'
  /** That a stream can be over without an event; the host has to be able to `hush`. */
  | 'silent-ends'

/** One behaviour of design and protocol that has to hold over any transport. */
export interface ContractCase {
  readonly name: string
  /** What the transport must be able to tell. Default: nothing special. */
  readonly needs?: ContractPromise
  /** Rejects where the behaviour is missing. */
  run(serve: Serve): Promise<void>
}
