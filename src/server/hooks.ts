import { Refusal } from './http'
import type { Metric } from './metrics'

export interface Hooks {
  onError?(error: unknown): unknown
  onMetric?(metric: Metric): unknown
}

/** Sentences about settings: more are no news. */
const MAX_NOTICES = 100

/** The app's hooks, made so that nothing they throw or reject with gets out: it would end the process. */
export function guardHooks({ onError: hook, onMetric: measure }: Hooks) {
  // A promise's executor turns whatever the hook throws into a rejection, and that one is caught.
  const onError = (error: unknown) =>
    // A refusal is meant for the client. A log that rejects with one has told why.
    error instanceof Refusal || void new Promise((resolve) => resolve((hook ?? console.error)(error))).catch(() => {})

  const onMetric = (metric: Metric) => {
    try {
      const result = measure?.(metric)
      if (result instanceof Promise) result.catch(onError)
    } catch (error) {
      onError(error)
    }
  }

  const noticed = new Set<string>()
  /** About a setting. `onError` is told each sentence once; without one the console is told the first of each kind. */
  const notify = (code: string, sentence: string) => {
    const key = hook ? sentence : code
    if (noticed.has(key) || noticed.size >= MAX_NOTICES) return
    noticed.add(key)
    if (hook) onError(new Error(sentence))
    else console.warn(`holdline: ${sentence}`)
  }

  return { onError, onMetric, notify }
}
