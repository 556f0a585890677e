import { isSeq, isText, type JsonObject } from '../protocol'

/** The receipt of a command, as it comes: where to follow its run from. */
export interface Receipt {
  /** Empty, if there is none. */
  readonly run: string
  readonly state: unknown
  readonly after: number
  readonly head: number
  readonly epoch: string | undefined
}

export function receiptOf(value: unknown): Receipt | undefined {
  const { run, state, after, head, epoch }: JsonObject = Object(value)
  if (!isSeq(after) || !isSeq(head)) return undefined
  return { run: isText(run) ? run : '', state, after, head, epoch: isText(epoch) ? epoch : undefined }
}

export function orAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
    promise.then(resolve, reject)
  })
}
