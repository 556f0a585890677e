import { behaviour, closings, expectEqual, publishes, range } from '../behaviour'
import type { ContractCase } from '../case'

export const suspending: readonly ContractCase[] = [
  behaviour('C71: a server that keeps the sessions at a suspend goes on, and nothing is resumed', async (line) => {
    line.connection.watch('s1')
    await line.opens()
    line.connection.suspend()
    await line.until('the suspend', () => line.server.requestsTo('suspend').length === 1)
    await publishes(line, 2)
    await line.until('events', () => line.seqs().length === 2)
    expectEqual((await line.send('hidden').settled).status, 'accepted', 'the message')
    line.connection.wake()
    await line.until('the probe', () => line.server.requestsTo('probe').length === 1)
    expectEqual([closings(line), line.server.requestsTo('reconnect').length], [[], 1], 'closed, and resumed')
  }),

  behaviour('C71: after a suspend that detached, a wake resumes the stream, and nothing is lost', async (line) => {
    line.server.detaches()
    line.connection.watch('s1')
    await line.opens()
    await publishes(line, 1)
    await line.until('an event', () => line.seqs().length === 1)
    const { connectionId } = line.connection
    let answered = false
    line.server.intercepts(async (endpoint, next) => {
      const answer = await next()
      answered ||= endpoint === 'suspend'
      return answer
    })
    line.connection.suspend()
    await line.until('the suspend', () => answered)
    await publishes(line, 3)
    expectEqual([line.connection.isOpen, closings(line), line.seqs()], [true, [], [1]], 'suspended')
    line.connection.wake()
    await line.until('the events', () => line.seqs().length === 4)
    await line.until('open', () => line.connection.isOpen)
    expectEqual(line.seqs(), range(4), 'events')
    expectEqual([closings(line), line.connection.connectionId], [['wake'], connectionId], 'the same stream')
    expectEqual((await line.send('back').settled).status, 'accepted', 'the message')
  }),

  behaviour('C71 I14: a message that is sent on a suspended stream leaves after a resume of it', async (line) => {
    line.server.detaches()
    line.connection.watch('s1')
    await line.opens()
    line.connection.suspend()
    await line.until('the suspend', () => line.server.requestsTo('suspend').length === 1)
    await publishes(line, 1)
    expectEqual((await line.send('hidden').settled).status, 'accepted', 'the message')
    await line.until('the event', () => line.seqs().length === 1)
    const order = line.server.requests.map(({ endpoint }) => endpoint)
    expectEqual(order, ['reconnect', 'suspend', 'reconnect', 'send'], 'requests')
  }),
]
