import type { UIMessage } from 'ai'
import type { Connection } from '../connection/api'

/** The part of a connection that chats need. */
export type Line = Pick<Connection, 'send' | 'on' | 'watch' | 'unwatch' | 'cursor' | 'pending'>

/** A run that no stream of this chat reads. */
export interface RunNews<M extends UIMessage = UIMessage> {
  readonly chatId: string
  readonly run: string
  /**
   * What the user said, elsewhere; `undefined` if the run goes on with the assistant's last
   * message.
   */
  readonly message: M | undefined
}

export type RunListener = (news: RunNews) => void

/** Of one chat. */
export interface ThreadParts {
  readonly line: Line
  readonly chatId: string
  readonly sessionId: string
  /** Hears of the runs of all chats. */
  readonly onRun: RunListener
  /** It has no users left. */
  readonly onIdle: () => void
}
