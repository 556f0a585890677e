import { expect, test } from 'vitest'
import { gate, startRunsServer } from '../../support/runsWorld'

const noEvents = () => new ReadableStream({ start: (controller) => controller.close() })

test('a session remembers that its last run failed until another begins; a good end and a stop are no failure', async () => {
  const { runs } = await startRunsServer({}, () => () => null)
  const call = { principal: { id: 'alice' }, sessionId: 's1', idempotencyKey: undefined }
  const broken = async () => (await runs.active('s1')).broken
  expect(await broken()).toBeUndefined()

  const { run: failed } = await runs.start(call, () => {
    throw new Error('no model')
  })
  await runs.idle()
  expect(await broken()).toEqual({ id: failed, reason: 'failed' })

  const waiting = gate()
  const { run: stopped } = await runs.start(call, async () => {
    await waiting.opened
    return noEvents()
  })
  expect(await broken()).toBeUndefined()
  await runs.stop('s1', stopped)
  expect(await broken()).toBeUndefined()
  waiting.open()

  await runs.start(call, () => noEvents())
  await runs.idle()
  expect(await broken()).toBeUndefined()
})

test('a run of the queue that fails or begins after another failed is the one that counts', async () => {
  const { runs } = await startRunsServer({ onBusy: 'queue' }, () => () => null)
  const call = { principal: { id: 'alice' }, sessionId: 's1', idempotencyKey: undefined }
  const first = gate()
  await runs.start(call, async () => {
    await first.opened
    throw new Error('the first one')
  })
  await runs.start(call, () => noEvents())
  first.open()
  await runs.idle()
  expect((await runs.active('s1')).broken).toBeUndefined()
})
