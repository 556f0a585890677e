import { Refusal } from './errors'
import type { Metric } from './metrics'

export interface Hooks {
  onError?(error: unknown): unknown
  onMetric?(metric: Metric): unknown
}

/**
 * Sentences about one kind of setting: more are no news. Of each kind, because a stranger can cause
 * them.
 */
const MAX_NOTICES = 100

/**
 * The app's hooks, made so that nothing they throw or reject with gets out: it would end the
 * process.
 */
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

  const noticed = new Map<string, Set<string>>()
  /**
   * About a setting. `onError` is told each sentence once; without one the console is told the
   * first of each kind.
   */
  const notify = (code: string, sentence: string) => {
    const told = noticed.get(code) ?? new Set()
    noticed.set(code, told)
    if (told.has(sentence) || told.size >= (hook ? MAX_NOTICES : 1)) return
    told.add(sentence)
    if (hook) onError(new Error(sentence))
    else console.warn(`holdline: ${sentence}`)
  }

  return { onError, onMetric, notify }
}
