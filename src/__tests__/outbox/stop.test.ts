import type { Feature } from 'holdline'
import { describe, expect, test } from 'vitest'
import { BatchSize } from '../../outbox/batchSize'
import { Flight } from '../../outbox/flight'
import { GivingUp } from '../../outbox/givingUp'
import type { Ending } from '../../outbox/judge'
import { Lanes } from '../../outbox/lanes'
import type { Message } from '../../outbox/message'
import { type Reason, toError } from '../../outbox/reasons'
import { cancelledBy, Stops } from '../../outbox/stop'
import { Turns } from '../../outbox/turns'
import { createWorld, SERVER_ACCEPTS, SERVER_IS_SILENT, type ServerBehaviour, settle } from '../support/fakes'
import { createMessage, createSettings, gateOf } from '../support/outboxParts'

const lanes = new Lanes()
const createStop = (fields: Partial<Message> = {}) =>
  createMessage(lanes.get('stop:session:s1'), { type: 'stop', endpoint: 'stop', ...fields })
const createPrompt = (fields: Partial<Message> = {}) => createMessage(lanes.get('session:s1'), fields)

function createTurns() {
  const { clock, settings } = createSettings()
  return new Turns(clock, lanes, new GivingUp(settings.outbox), new BatchSize())
}

describe('I4: a message waits for a stop before it', () => {
  test('the last one without a verdict, also when an earlier one has ended', () => {
    const stops = new Stops()
    const [first, second, prompt] = [createStop(), createStop(), createPrompt()]
    for (const stop of [first, second]) stops.enter(stop)
    stops.leave(first)
    stops.enter(prompt)
    expect(prompt.after).toBe(second)
  })

  test('not for one that has ended, of which nothing is kept', () => {
    const stops = new Stops()
    const [stop, prompt] = [createStop(), createPrompt()]
    stops.enter(stop)
    stops.leave(stop)
    stops.enter(prompt)
    expect(prompt.after).toBeUndefined()
  })

  test('and leaves at once when the stop is cancelled while it waits for its repeat', async () => {
    const world = createWorld({}, (post) =>
      post.endpoint === 'stop' ? post.answers(500, { error: 'internal' }) : SERVER_ACCEPTS(post),
    )
    await world.opens()
    const stop = world.connection.send({ type: 'stop', sessionId: 's1' })
    const prompt = world.connection.send({ type: 'send', sessionId: 's1' })
    await settle()
    expect([stop.status, prompt.status]).toEqual(['queued', 'queued'])
    stop.cancel()
    await settle()
    expect([stop.status, prompt.status]).toEqual(['unknown', 'accepted'])
  })
})

test.each(['stop', 'interrupt', 'mode', 'watch', 'unwatch', 'switch', 'close', 'suspend', 'send', 'answer'])(
  'a stop takes back what may start work: %s',
  (endpoint) => {
    const [message, stop] = [createPrompt({ endpoint, sessionId: 's1' }), createStop({ sessionId: 's1' })]
    const isTaken = ['send', 'answer'].includes(endpoint)
    expect(cancelledBy(stop, [message, stop])).toEqual(isTaken ? [message] : [])
  },
)

describe('a prompt that a stop takes back', () => {
  const ACCEPTED: Ending = { status: 'accepted', receipt: null }
  const REJECTED: Ending = { status: 'rejected', error: toError('cancelled', createPrompt()) }

  test.each<[string, attempts: number, Ending | null, Feature[], 'cancelled' | undefined]>([
    ['ends, where the server may have carried the stop out', 1, null, [], 'cancelled'],
    ['ends, where the server took the stop', 1, ACCEPTED, [], 'cancelled'],
    ['goes on, where the server refused the stop', 1, REJECTED, [], undefined],
    ['goes on, where the stop has not left', 0, null, [], undefined],
    ['is posted again, where the server was told its id, and says what became of it', 1, null, ['cancels'], undefined],
  ])('%s', (_, attempts, ending, features, why) => {
    const stoppedBy = createStop({ attempts })
    if (ending) stoppedBy.end(ending)
    expect(createTurns().whyNot(createPrompt({ stoppedBy }), gateOf({ features }))).toBe(why)
  })

  test('ends as the stop leaves, if it waits for its repeat and the server knows no `cancels`; one under way goes on', async () => {
    const fails: ServerBehaviour = (post) => post.answers(500, { error: 'internal' })
    const world = createWorld({}, fails)
    await world.opens()
    const waiting = world.connection.send({ type: 'send', sessionId: 's1' })
    await settle()
    world.server(SERVER_IS_SILENT)
    const underWay = world.connection.send({ type: 'send', sessionId: 's1' }, { lane: 'other' })
    await settle()
    world.connection.send({ type: 'stop', sessionId: 's1' })
    await settle()
    expect([waiting.status, underWay.status]).toEqual(['unknown', 'sending'])
    expect(waiting.error?.code).toBe('cancelled')
    await world.post('send').answers(200)
    expect(underWay.status).toBe('accepted')
  })
})

test('I4: over a transport that keeps order, the next message of a lane is prepared when the one before it has left', () => {
  const lane = lanes.get('ordered')
  const [first, second] = [createMessage(lane), createMessage(lane)]
  for (const message of [first, second]) lanes.enter(message, 'last')
  const flight = new Flight(gateOf(), [first])
  first.state = { name: 'carried', flight }
  lanes.begin(flight)
  const turns = createTurns()
  expect(turns.next(lane, 2)).toBeUndefined()
  flight.state = 'underWay'
  expect(turns.next(lane, 2)).toBe(second)
})

describe('the error of a verdict says what to look at', () => {
  test.each<[Reason, Partial<Message>, RegExp]>([
    ['cancelled', {}, /cancel\(\), clearOutbox\(\)/],
    ['disposed', {}, /dispose\(\)/],
    ['expired', {}, /maxAge/],
    ['expired', { attempts: 1 }, /receiptAge/],
    ['exhausted', { attempts: 12, lastError: toError('outbox-full', createPrompt()) }, /^12 attempts.*maxMessages/],
    ['invalid-message', {}, /JSON/],
    ['outbox-full', {}, /outbox\.maxMessages/],
    ['unknown-type', { type: 'upload' }, /upload/],
    ['unknown-type', { type: 7 }, /number/],
  ])('%s %j', (reason, fields, says) => {
    expect(toError(reason, createPrompt(fields))).toMatchObject({
      code: reason,
      message: expect.stringMatching(says),
    })
  })
})
