import { createConnection } from 'holdline'
import { sessionStore } from 'holdline/sessions'
import { persist } from 'holdline/storage'
import { createHarness, sendFails, streamDropsAfter } from 'holdline/testing'
import { afterEach, expect, test } from 'vitest'
import { type Line, lineOptions } from '../client/connection'
import { historyOf } from '../client/history'
import { chat } from '../shared/protocol'
import type { Transcript } from '../shared/transcript'

// The page without a browser: its connection and its stores are the real ones. Network, server,
// time and storage are the test's, so nothing sleeps.

const SESSION = 's1'
let unsubscribe = () => {}
afterEach(() => unsubscribe())

function openPage() {
  let line!: Line
  let transcript!: () => Transcript
  const harness = createHarness({
    create(environment, storage) {
      const own = { ...lineOptions('ann'), storage: persist(storage) }
      line = createConnection({ ...own, protocol: chat, ...environment })
      // The history is empty: all that was said is in the log.
      const store = sessionStore(line, SESSION, { ...historyOf(fetch), load: undefined })
      unsubscribe()
      unsubscribe = store.subscribe(() => {})
      transcript = () => store.getSnapshot().state
      return line as never
    },
  })
  return {
    harness,
    say: (prompt: string) => line.send({ type: 'send', sessionId: SESSION, prompt, files: [] }),
    /** Prompts without a verdict. */
    waiting: () => line.pending.map(({ message }) => message.type === 'send' && message.prompt),
    /** What the page shows, once it has had a frame. */
    shows: () => expect.poll(() => transcript().map((entry) => `${entry.from}: ${entry.text}`)),
    publish: (event: object) => harness.server.publish(SESSION, { ...event }),
    prompts: () => harness.server.commands.map(({ message }) => message.prompt),
  }
}

test('an answer is shown whole, however often its stream is cut', async () => {
  const page = openPage()
  page.harness.server.behaves(streamDropsAfter(2))
  await page.harness.opens()
  page.publish({ type: 'prompt', id: 'm1', text: 'hi', files: [] })
  page.publish({ type: 'run.started', run: 'r1' })
  for (const text of ['one ', 'two ', 'three']) page.publish({ type: 'token', text })
  page.publish({ type: 'run.ended', run: 'r1', reason: 'finished' })
  await page.harness.passes(60_000)
  await page.shows().toEqual(['user: hi', 'agent: one two three'])
})

test('prompts that are typed without a connection leave when it is back, in order and once', async () => {
  const page = openPage()
  await page.harness.opens()
  page.harness.page.goesOffline()
  page.harness.stream.fails()
  page.say('one')
  page.say('two')
  expect(page.waiting()).toEqual(['one', 'two'])
  page.harness.page.comesOnline()
  await page.harness.passes(60_000)
  expect(page.prompts()).toEqual(['one', 'two'])
  expect(page.waiting()).toEqual([])
})

test('a prompt that waits survives a reload', async () => {
  const page = openPage()
  page.say('hi')
  await page.harness.settles()
  page.harness.reloads()
  expect(page.waiting()).toEqual(['hi'])
  await page.harness.opens()
  await page.harness.settles()
  expect(page.prompts()).toEqual(['hi'])
})

test('a prompt that is refused is told as that, and not repeated', async () => {
  const page = openPage()
  page.harness.server.behaves(sendFails({ status: 409 }))
  await page.harness.opens()
  const delivery = page.say('hi')
  await page.harness.passes(60_000)
  expect(delivery).toMatchObject({ status: 'rejected', attempts: 1, error: { status: 409 } })
})
