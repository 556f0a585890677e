import type { Connection } from '../connection/api'
import type { ConnectionErrorCode } from '../errors'
import type { PageTime } from './page'

/** What a session stands on. */
export interface SessionParts {
  readonly id: string
  readonly connection: Connection
  readonly time: PageTime
  /** Tells the app as an `error` of the connection. */
  readonly report: (code: ConnectionErrorCode, why: string, cause?: unknown) => void
  /** It has ended. */
  readonly drop: () => void
}
