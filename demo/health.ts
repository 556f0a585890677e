import { METRICS, type Metric, type MetricName } from 'holdline/server'

export interface Health {
  readonly status: 'ok' | 'draining'
  /** Gauges as they are, counters since the start, and the last measurement of the others. */
  readonly metrics: Readonly<Partial<Record<MetricName, number>>>
}

/** What a server tells of itself, for whoever asks over HTTP. */
export function createHealth() {
  const metrics: Partial<Record<MetricName, number>> = {}
  let status: Health['status'] = 'ok'
  return {
    count({ name, value }: Metric) {
      metrics[name] = METRICS[name].kind === 'counter' ? (metrics[name] ?? 0) + value : value
    },
    drain() {
      status = 'draining'
    },
    report: (): Health => ({ status, metrics }),
  }
}
