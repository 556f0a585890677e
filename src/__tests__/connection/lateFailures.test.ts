import { createConnection } from 'holdline'
import { createInspector } from 'holdline/inspect'
import { createHarness, type Environment } from 'holdline/testing'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { processSettles, watchProcess } from '../support/process'

const lost = watchProcess()
const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
beforeEach(() => void warn.mockClear())

const rejects = async () => {
  throw new Error('late')
}
const LATE = { code: 'listener-failed', cause: new Error('late') }

describe('a listener whose promise rejects is one that throws, and nobody waits for it', () => {
  test.each(['opened', 'phase', 'delivery', 'closed', 'refused'] as const)('of `%s`', async (name) => {
    const { connection, opens, settles, told } = createHarness()
    connection.on(name, rejects)
    await opens()
    connection.connect()
    connection.send({ type: 'send' })
    await settles()
    connection.disconnect()
    await settles()
    await processSettles()
    const errors = told.flatMap((one) => (one.name === 'error' ? [one.event.error] : []))
    expect(errors[0]).toMatchObject({ ...LATE, message: `${name} listener threw` })
    expect(lost).not.toHaveBeenCalled()
  })

  test('of `message`: it has had the message, which is not offered again', async () => {
    const { connection, server, opens, passes, told } = createHarness()
    const heard = vi.fn(rejects)
    connection.watch('s1')
    await opens()
    connection.on('message', heard)
    server.sends({ type: 'token', sessionId: 's1', seq: 1 })
    expect(connection.cursor('s1')?.lastSeq).toBe(1)
    await passes(5_000)
    await processSettles()
    expect(heard).toHaveBeenCalledOnce()
    expect(told.findLast(({ name }) => name === 'error')?.event).toMatchObject({ error: LATE })
    expect(lost).not.toHaveBeenCalled()
  })

  test('of a snapshot', async () => {
    const { connection, settles, told } = createHarness()
    connection.subscribe(rejects)
    await settles()
    await processSettles()
    expect(told).toMatchObject([{ name: 'error', event: { error: LATE } }])
    expect(lost).not.toHaveBeenCalled()
  })

  test('of `error`: there is nobody left to tell but the console', async () => {
    const create = (environment: Environment) => createConnection({ ...environment, inspect: rejects })
    const { connection, settles } = createHarness({ create })
    connection.on('error', rejects)
    connection.connect()
    await settles()
    await processSettles()
    expect(warn).toHaveBeenCalledWith('holdline: error listener threw', new Error('late'))
    expect(lost).not.toHaveBeenCalled()
  })

  test.each([
    ['a function', rejects],
    ['an observer', { next: rejects }],
  ])('of `inspect`: %s', async (_, inspect) => {
    const create = (environment: Environment) => createConnection({ ...environment, inspect })
    const { opens, told } = createHarness({ create })
    await opens()
    await processSettles()
    expect(told.find(({ name }) => name === 'error')?.event).toMatchObject({ error: LATE })
    expect(lost).not.toHaveBeenCalled()
  })

  test.each(['start', 'send', 'stop'] as const)('of the inspector: its adapter’s `%s`', async (name) => {
    const onError = vi.fn(rejects)
    const adapter = { start() {}, send() {}, stop() {}, [name]: rejects }
    const inspector = createInspector({ adapter, onError })
    const { opens } = createHarness({
      create: (environment) => createConnection({ ...environment, inspect: inspector.inspect }),
    })
    await opens()
    inspector.stop()
    await processSettles()
    expect(onError.mock.calls).toMatchObject(name === 'stop' ? [] : [[LATE]])
    expect(lost).not.toHaveBeenCalled()
  })
})
