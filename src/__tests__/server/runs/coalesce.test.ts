import { expect, test, vi } from 'vitest'
import { memoryLog } from '../../../server'
import type { Coalesce } from '../../../server/runs'
import { settle, until } from '../../support/server'
import { command, eventsOf, manualProducer, says, stage, text } from './stage'

/** Joins texts. */
const join: Coalesce['join'] = (previous, next) =>
  previous.type === 'text' && next.type === 'text' ? { ...previous, text: `${previous.text}${next.text}` } : undefined

const letters = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => text(`${from + n},`))
const textsOf = (events: readonly { readonly type: string; readonly [field: string]: unknown }[]) =>
  events.flatMap(({ text }) => (text === undefined ? [] : [String(text)]))

test('the first text of a burst leaves at once, the others of the next 25 ms leave as one', async () => {
  const { runs, log, clock } = stage({ coalesce: { join } })
  const producer = manualProducer()
  await runs.start(command('s1'), producer.produce)
  producer.say(text('a'))
  await settle()
  expect(textsOf(await eventsOf(log, 's1'))).toEqual(['a'])
  producer.say(text('b'), text('c'), text('d'))
  await settle()
  await clock.advance(24)
  expect(textsOf(await eventsOf(log, 's1'))).toEqual(['a'])
  await clock.advance(1)
  expect(textsOf(await eventsOf(log, 's1'))).toEqual(['a', 'bcd'])
  // After a pause the next one leaves at once.
  await clock.advance(100)
  producer.say(text('e'))
  await settle()
  expect(textsOf(await eventsOf(log, 's1'))).toEqual(['a', 'bcd', 'e'])
})

test('order and content are as without it; what the mapping does not join stays, and nothing is joined across it', async () => {
  const { runs, log } = stage({ coalesce: { join } })
  const tool = { type: 'tool', name: 'ls' }
  await runs.start(command('s1'), says(...letters(0, 50), tool, ...letters(50, 100), tool, tool))
  await runs.idle()
  const events = (await eventsOf(log, 's1')).slice(1, -1)
  expect(events.length).toBeLessThan(10)
  expect(textsOf(events).join('')).toBe(textsOf(letters(0, 100)).join(''))
  const place = events.findIndex(({ type }) => type === 'tool')
  expect(textsOf(events.slice(0, place)).join('')).toBe(textsOf(letters(0, 50)).join(''))
  expect(events.filter(({ type }) => type === 'tool')).toHaveLength(3)
})

test('the end waits for nothing, and a joined event does not outgrow what an event may be', async () => {
  const { runs, log, clock } = stage({ coalesce: { join, delay: 10_000 } })
  const chunk = 'x'.repeat(5_000)
  await runs.start(command('s1'), says(...Array.from({ length: 30 }, () => text(chunk))))
  await runs.idle()
  expect(clock.timers).toBe(1)
  const texts = textsOf(await eventsOf(log, 's1'))
  expect(texts.join('')).toBe(chunk.repeat(30))
  expect(Math.max(...texts.map(({ length }) => length))).toBeLessThan(20_000)
})

test('a start may have its own; without one each event stays for itself', async () => {
  const { runs, log } = stage()
  await runs.start(command('s1'), says(...letters(0, 20)), { coalesce: { join } })
  await runs.idle()
  await runs.start(command('s2'), says(...letters(0, 20)))
  await runs.idle()
  expect(textsOf(await eventsOf(log, 's1')).length).toBeLessThan(5)
  expect(textsOf(await eventsOf(log, 's2'))).toHaveLength(20)
})

test('a mapping that throws fails the run as a bad event does, and what came before stays', async () => {
  const { runs, log, errors } = stage({ coalesce: { join: () => expect.unreachable('boom') } })
  await runs.start(command('s1'), says(text('a'), text('b'), text('c')))
  await runs.idle()
  expect((await eventsOf(log, 's1')).at(-1)).toMatchObject({ reason: 'failed' })
  expect(errors).toHaveLength(1)
})

test('the events that leave together are one append', async () => {
  const appended = vi.fn()
  const { runs, log } = stage()
  const producer = manualProducer()
  await log.subscribe('s1', appended)
  await runs.start(command('s1'), producer.produce)
  for (const event of letters(0, 1_000)) producer.say(event)
  await until(() => producer.left === 0, 'taken')
  producer.finish()
  await runs.idle()
  expect(textsOf(await eventsOf(log, 's1')).join('')).toBe(textsOf(letters(0, 1_000)).join(''))
})

test('the end waits for nothing, also if an append is under way then', async () => {
  const inner = memoryLog()
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const joinRuns: typeof inner.joinRuns = (process) => {
    const runs = inner.joinRuns?.(process)
    if (!runs) throw new Error('no runs')
    return { ...runs, append: (...given) => held.then(() => runs.append(...given)) }
  }
  const { runs } = stage({ coalesce: { join, delay: 10_000 } }, { ...inner, joinRuns })
  const producer = manualProducer()
  await runs.start(command('s1'), producer.produce)
  producer.say(text('a'))
  await settle()
  producer.say(text('b'), text('c'))
  producer.finish()
  await settle()
  release()
  await runs.idle()
  expect(textsOf(await eventsOf(inner, 's1'))).toEqual(['a', 'bc'])
})
