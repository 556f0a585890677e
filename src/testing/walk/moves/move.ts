import type { OutboundMessage } from '../../../connection/messages'
import { ConnectionError } from '../../../errors'
import type { ConnectionContext } from '../../../machine/types'
import type { Cursor, JsonObject } from '../../../protocol'
import type { Harness } from '../../harness/harness'
import type { Move } from '../plan'

/** The means of a move. */
export interface World {
  readonly harness: Harness
  /** The context of the connection machine, as it is now. */
  readonly context: ConnectionContext
  /** Whether the event that is to be caused has come. */
  readonly hasHappened: boolean
  /** The id of a session that is new to both sides. */
  readonly newSession: () => string
  /** An event of a session, without its numbers. */
  readonly event: JsonObject
  /** The message that the app sends. */
  readonly message: OutboundMessage
}
export type Cause = Move<World>['cause']
export type State = Move<World>['can']
export type Fields = (context: ConnectionContext) => object

/** Longer than a server lets its client be silent, ms. */
export const LONG = 86_400_000
export const KNOWN: Cursor = { sessionId: 'known', lastSeq: 1 }
/** Of another one each time. */
export const newSession = ({ resumes }: ConnectionContext): readonly Cursor[] => [
  { sessionId: `new ${resumes}`, lastSeq: 0 },
]

/** The name begins with the type of the event. */
export const move = (name: string, can: State, cause: Cause, fields: Fields = () => ({})): Move<World> => ({
  name,
  can,
  cause,
  event: ({ context }) => ({ type: name.replace(/,.*/, ''), ...fields(context) }),
})
export const awayFor =
  (ms: number): Fields =>
  () => ({ awayFor: ms })
export const TRANSIENT = new ConnectionError('http', 'the server answered an error', { retryable: true })
export const DISOWNED = new ConnectionError('unknown-stream', 'the server answered 404', { retryable: true })
export const FATAL = new ConnectionError('http', 'the server answered an error', { retryable: false })
export const retryable: Fields = () => ({ error: TRANSIENT })
export const fatal: Fields = () => ({ error: FATAL })
export const disowns: Fields = () => ({ error: DISOWNED })
