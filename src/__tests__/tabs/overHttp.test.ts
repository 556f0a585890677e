import { createSharedConnection, type SharedConnection } from 'holdline/tabs'
import { afterEach, expect, test } from 'vitest'
import { FakeLocks } from '../../../tools/shared/fakeLocks'
import { listen } from '../../../tools/shared/listen'
import { createChatServer } from '../../server'
import { range } from './browser'

// The real server half, EventSource, `fetch`, BroadcastChannel and time; Node 20 has no Web Locks.

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** Waits for the condition; vitest's own timeout bounds it. */
async function until(isMet: () => boolean) {
  while (!isMet()) await new Promise((resolve) => setTimeout(resolve, 5))
}

test('tabs over HTTP: one stream, a hand-over, messages and events of all', async () => {
  const prompts: unknown[] = []
  const chat = createChatServer({
    authenticate: () => ({ id: 'me' }),
    authorize: () => true,
    onCommand: ({ message }) => {
      prompts.push(message.prompt)
    },
  })
  cleanups.push(() => chat.close())
  const server = await listen(chat.fetch)
  cleanups.push(server.close)

  const locks = new FakeLocks()
  const open = (name: string) => {
    const agent = { name, task: (run: () => void) => run() }
    const scope = { document: Object.assign(new EventTarget(), { visibilityState: 'visible' }) }
    const environment = { locks: locks.of(agent), scope: scope as never }
    const connection = createSharedConnection({ url: server.url }, { name: 'over-http', environment })
    const seqs: unknown[] = []
    connection.on('message', ({ seq }) => seqs.push(seq))
    connection.watch('s1')
    connection.connect()
    cleanups.push(connection.dispose)
    return { connection, seqs }
  }
  const tabs = range(1, 8).map((index) => open(`tab${index}`))
  const areShared = (connections: readonly SharedConnection[]) =>
    connections.every(({ isOpen }) => isOpen) &&
    connections.filter(({ tabs: { role } }) => role === 'leading').length === 1 &&
    server.streams === 1
  const connections = tabs.map(({ connection }) => connection)
  await until(() => areShared(connections))

  for (const _ of range(1, 20)) await chat.publish('s1', { type: 'token' })
  await until(() => tabs.every(({ seqs }) => seqs.length >= 20))
  const sent = connections.map((connection, index) => connection.send({ type: 'send', sessionId: 's2', prompt: index }))
  const leader = connections.find(({ tabs: { role } }) => role === 'leading')
  leader?.disconnect()
  for (const _ of range(1, 5)) await chat.publish('s1', { type: 'token' })
  const others = tabs.filter(({ connection }) => connection !== leader)
  await until(() => areShared(others.map(({ connection }) => connection)))
  await until(() => others.every(({ seqs }) => seqs.length >= 25))
  for (const { seqs } of others) expect(seqs).toEqual(range(1, 25))

  leader?.connect()
  const verdicts = await Promise.all(sent.map(({ settled }) => settled))
  expect(verdicts.map(({ status }) => status)).toEqual(sent.map(() => 'accepted'))
  expect(prompts.toSorted()).toEqual(range(0, 7))
  await until(() => areShared(connections))
})
