import { ConnectionError } from '../errors'
import type { Cursor } from '../protocol'
import type { ConnectionContext, ServerDelay } from './types'

// The pure functions that actions and guards ask: what an event means, seen from what the
// connection knows.

/** An error that an actor reports, and how long the server asked to wait. */
export type Failure = { readonly error: unknown; readonly delay?: ServerDelay }

export const toConnectionError = (error: unknown) =>
  error instanceof ConnectionError
    ? error
    : new ConnectionError('internal', 'an actor threw: see cause', { cause: error, retryable: true })

/**
 * Whether a resume got somewhere. `before` are the cursors that it asked for, `leftOvers` those
 * that are to be resumed after it. A left-over that is among `before` has not moved. Any other one
 * has moved since, or is of a session that was not part of the resume.
 */
export const madeProgress = (before: readonly Cursor[], leftOvers: readonly Cursor[]) =>
  leftOvers.some(
    ({ sessionId, lastSeq, epoch }) =>
      !before.some((asked) => asked.sessionId === sessionId && asked.lastSeq === lastSeq && asked.epoch === epoch),
  )

/**
 * What may have caused a resume, or ended it. `isByServer`: the server has made it necessary, by a
 * hole or a reset; else the app wants it. `resumeId`: undefined for the answer to the POST itself,
 * null for a marker that names no resume.
 */
export type Cause = { readonly isByServer?: boolean; readonly resumeId?: string | null }
/** The end of a resume, or of its replay. */
export type Done = Cause & { readonly leftOvers: readonly Cursor[] }

/**
 * Whether it ends the current resume. A marker that names no resume does so only if this stream has
 * seen a single one.
 */
export const confirms = ({ resumes, resumeId }: ConnectionContext, done: Cause) =>
  done.resumeId === null ? resumes === 1 : done.resumeId === undefined || done.resumeId === resumeId

/** Whether the current resume is through, and nothing is left over. */
export const completes = (context: ConnectionContext, done: Done) => confirms(context, done) && !done.leftOvers.length
export const canProbe = ({ features }: ConnectionContext) => features.includes('probe')

/** A 403 from a firewall may pass. This many in a row stop the line. */
export const MAX_REFUSALS = 3
/**
 * So many resumes and resets may a server cause between two times of quiet (`stableDelay`); more go
 * through backoff. A hole costs up to three.
 */
export const MAX_FLAPS = 5

/** Names the current probe. */
export const nonceOf = ({ probes }: ConnectionContext) => `p${probes}`

/** The fields that speak of the live stream, while there is none. */
export const NO_STREAM = {
  connectionId: null,
  heartbeat: null,
  features: [],
  cursors: [],
  resumes: 0,
  resumeId: null,
  farewell: 'none',
  serverDelay: {},
} as const
