/**
 * The metrics that `onMetric` reports: how the values of a name add up, their unit (UCUM), and what
 * they count.
 */
export const METRICS = {
  streams: { kind: 'gauge', unit: '{stream}', about: 'Event streams that are open in this process.' },
  appends: { kind: 'counter', unit: '{event}', about: 'Events appended to the log.' },
  'append.duration': { kind: 'histogram', unit: 'ms', about: 'How long the log took for an append.' },
  replays: { kind: 'counter', unit: '{event}', about: 'Events that clients had missed when they resumed.' },
  evictions: {
    kind: 'counter',
    unit: '{stream}',
    about: 'Streams taken from clients that had stopped reading, or were silent when another was opened.',
  },
  forwarded: { kind: 'counter', unit: '{request}', about: "Requests about a stream of another process's." },
  'forward.duration': { kind: 'histogram', unit: 'ms', about: 'How long the other process took to answer.' },
  throttled: {
    kind: 'counter',
    unit: '{request}',
    about: 'POSTs that waited, or were refused, because their principal had posted more than `limits.bodyRate`.',
  },
  runs: { kind: 'gauge', unit: '{run}', about: 'Runs that this process has: producing, or in a queue.' },
  'run.duration': {
    kind: 'histogram',
    unit: 'ms',
    about: 'How long a producer of this process took, or until it lost its run.',
  },
  'runs.failed': { kind: 'counter', unit: '{run}', about: 'Runs whose producer threw, or that grew too large.' },
  'runs.interrupted': {
    kind: 'counter',
    unit: '{run}',
    about: 'Runs that this process has ended for others that had died, or that no one answered.',
  },
  repairs: { kind: 'counter', unit: '{repair}', about: 'Times that a shared log had to be read anew after a gap.' },
} as const

export type MetricName = keyof typeof METRICS

export interface Metric {
  readonly name: MetricName
  /** A gauge tells how many there are now, a counter how many more, a histogram one measurement. */
  readonly value: number
}
