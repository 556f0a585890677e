import type { Meter } from '@opentelemetry/api'
import { METRICS, type Metric } from 'holdline/server'

/** The `onMetric` of a chat server: each of its metrics is an instrument of the meter. */
export function recordWith(meter: Meter): (metric: Metric) => void {
  const records = new Map<string, (value: number) => void>()
  for (const [name, { kind, unit, about }] of Object.entries(METRICS)) {
    const options = { unit, description: about }
    if (kind === 'counter') {
      const counter = meter.createCounter(`holdline.${name}`, options)
      records.set(name, (value) => counter.add(value))
    } else {
      const instrument =
        kind === 'gauge'
          ? meter.createGauge(`holdline.${name}`, options)
          : meter.createHistogram(`holdline.${name}`, options)
      records.set(name, (value) => instrument.record(value))
    }
  }
  return ({ name, value }) => records.get(name)?.(value)
}
