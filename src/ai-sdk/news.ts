import type { UIMessage } from 'ai'

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
