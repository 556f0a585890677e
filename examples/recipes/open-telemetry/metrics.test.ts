import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import { createChatServer, METRICS } from 'holdline/server'
import { expect, test } from 'vitest'
import { recordWith } from './metrics'

class Reader extends MetricReader {
  protected override async onForceFlush() {}
  protected override async onShutdown() {}
}

test('what a server does arrives in OpenTelemetry: each metric as the instrument that it is', async () => {
  const reader = new Reader()
  const meter = new MeterProvider({ readers: [reader] }).getMeter('chat')
  const chat = createChatServer({
    authenticate: () => ({ id: 'alice' }),
    authorize: () => true,
    onCommand: () => {},
    onMetric: recordWith(meter),
  })
  for (let n = 0; n < 3; n += 1) await chat.publish('s1', { type: 'x', n })
  const opened = await chat.fetch(new Request('http://chat.test/events'))

  const { resourceMetrics, errors } = await reader.collect()
  expect(errors).toEqual([])
  const told = new Map(
    resourceMetrics.scopeMetrics.flatMap(({ metrics }) =>
      metrics.map(({ descriptor, dataPoints }) => [descriptor.name, { descriptor, value: dataPoints[0]?.value }]),
    ),
  )
  expect(told.get('holdline.appends')).toMatchObject({ descriptor: { unit: '{event}' }, value: 3 })
  expect(told.get('holdline.streams')).toMatchObject({ value: 1 })
  expect(told.get('holdline.append.duration')).toMatchObject({ descriptor: { unit: 'ms' }, value: { count: 3 } })
  for (const name of told.keys()) expect(Object.keys(METRICS)).toContain(name.replace('holdline.', ''))
  await opened.body?.cancel()
})
