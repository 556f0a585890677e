import type { Connection } from '../connection/api'
import { isSeq, isText, type JsonObject } from '../protocol'

/** The part of a connection that threads need. */
export type Line = Pick<Connection, 'send' | 'on' | 'whenOpen' | 'watch' | 'unwatch' | 'cursor' | 'pending'>

/** The trigger of a `send` that only asks for the run which is active. */
export const RESUME = 'resume-stream'

/** The receipt of a command, as it comes: its run, and where to follow that from. */
export interface Receipt {
  /** Empty, if there is none. */
  readonly run: string
  readonly state: unknown
  readonly after: number
  /** What is beyond it happened after this was said. */
  readonly head: number
  readonly epoch: string | undefined
  /** The last run, if it broke and no other has begun since. */
  readonly broken: { readonly id: string; readonly reason: unknown } | undefined
}

export function receiptOf(value: unknown): Receipt | undefined {
  const { run, state, after, head, epoch, broken }: JsonObject = Object(value)
  if (!isSeq(after) || !isSeq(head)) return undefined
  const { id, reason }: JsonObject = Object(broken)
  return {
    run: isText(run) ? run : '',
    state,
    after,
    head,
    epoch: isText(epoch) ? epoch : undefined,
    broken: isText(id) ? { id, reason } : undefined,
  }
}
