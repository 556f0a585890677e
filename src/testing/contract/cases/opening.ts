import { FEATURES } from '../../../protocol'
import { behaviour, closings, expectEqual, expectTrue, first, phases, publishes } from '../behaviour'
import type { ContractCase } from '../case'

export const opening: readonly ContractCase[] = [
  behaviour('connects in order, and opens once', async (line) => {
    line.connection.watch('s1')
    await line.opens()
    expectEqual(phases(line), ['connecting', 'awaitingWelcome', 'reconnecting', 'open'], 'phases')
    expectTrue(line.connection.connectionId, 'no connectionId')
  }),

  behaviour('C01 C02: nothing is posted before the resume has succeeded', async (line) => {
    line.connection.watch('s1')
    let release = () => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    line.server.intercepts(async (endpoint, next) => {
      if (endpoint === 'reconnect') await held
      return next()
    })
    const delivery = line.send('early')
    line.connection.connect()
    await line.until('the resume', () => line.server.requestsTo('reconnect').length === 1)
    line.server.says({ type: 'notice' })
    await line.until('a message meanwhile', () => line.messages.length === 1)
    expectEqual(
      [line.connection.phase, line.server.requestsTo('send').length],
      ['reconnecting', 0],
      'before the resume',
    )
    release()
    expectEqual((await delivery.settled).status, 'accepted', 'after the resume')
  }),

  behaviour('C04: a second welcome resumes anew, and opens once more', async (line) => {
    line.connection.watch('s1')
    await line.opens()
    const connectionId = line.connection.connectionId
    line.server.says(
      { type: 'welcome', protocolVersion: 2, connectionId, heartbeat: 15_000, features: FEATURES },
      'welcome',
    )
    await line.until('again', () => line.told.filter(([name]) => name === 'opened').length === 2)
    expectEqual([closings(line), line.server.requestsTo('reconnect').length], [['welcome'], 2], 'resumed')
    await publishes(line, 2)
    await line.until('events', () => line.seqs().length === 2)
  }),

  behaviour('C03 C41: disconnect ends it all; what is queued leaves after the next connect', async (line) => {
    let release = () => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    const isFirst = first(true, false)
    line.server.intercepts(async (endpoint, next) => {
      if (endpoint === 'send' && isFirst()) await held
      return next()
    })
    await line.opens()
    const delivery = line.send('kept')
    await line.until('under way', () => line.server.requestsTo('send').length === 1)
    line.connection.disconnect()
    release()
    expectEqual([line.connection.phase, delivery.status], ['idle', 'queued'], 'idle')
    line.connection.connect()
    expectEqual([(await delivery.settled).status, line.server.prompts()], ['accepted', ['kept']], 'applied once')
  }),
]
