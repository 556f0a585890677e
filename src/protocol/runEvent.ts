/**
 * How a run ended: its producer came to its end; `stop`, or a start with `onBusy: 'interrupt'`,
 * ended it; its producer threw, or the log could not keep it; its process is gone, or nobody
 * answered it within `suspendAge`.
 */
export type RunEndReason = 'finished' | 'stopped' | 'failed' | 'interrupted'

/**
 * Why, where the reason leaves that open. `producer`: the producer threw. `bad-event`: it yielded
 * what is no event. `too-large`: the run grew beyond what the log keeps of a session (8 MiB).
 * `expired`: nobody answered within `suspendAge`.
 */
export type RunError = 'producer' | 'bad-event' | 'too-large' | 'expired'

/**
 * The session events by which clients know runs. Between `run.started` and `run.ended` stand the
 * events of its producer.
 */
export type RunEvent =
  | { readonly type: 'run.queued'; readonly run: string }
  | { readonly type: 'run.started'; readonly run: string }
  | { readonly type: 'run.suspended'; readonly run: string; readonly waitsFor: unknown }
  | { readonly type: 'run.resumed'; readonly run: string }
  | { readonly type: 'run.ended'; readonly run: string; readonly reason: RunEndReason; readonly error?: RunError }
