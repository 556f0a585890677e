import { expect, onTestFinished, test } from 'vitest'
import { followAgent, HoldlineAgent } from '../../ag-ui'
import { gate, openPage, paced, saying, startAgentServer, when } from './agentWorld'

test('an input that is stopped while middleware works on it is never sent', async () => {
  const server = await startAgentServer({ answer: (input) => paced(saying(input, 'a')) })
  for (const stop of ['stop', 'abortRun'] as const) {
    const page = openPage(server.url, { threadId: stop })
    const [working, done] = [gate(), gate()]
    const { unsubscribe } = page.agent.subscribe({
      async onRunInitialized() {
        working.open()
        await done.opened
      },
    })
    const running = page.say('one')
    await working.opened
    page.agent[stop]()
    done.open()
    await running.catch(() => {})
    expect([server.inputs.length, page.types(), page.agent.isRunning]).toEqual([0, [], false])
    unsubscribe()
    await page.say('two')
    expect([server.inputs.splice(0).length, page.text()]).toEqual([1, 'a'])
  }
})

test('a connection that is disposed of ends what its agents read', async () => {
  const server = await startAgentServer({
    answer: (input) => paced(saying(input, 'a'), (at) => (at === 3 ? gate().opened : undefined)),
  })
  const page = openPage(server.url, { follows: true })
  const running = page.say('go').catch(() => {})
  await when(() => page.text() === 'a', 'it reads')
  page.connection.dispose()
  await running
  expect([page.failures, page.agent.isRunning]).toMatchObject([[{ code: 'disposed' }], false])
})

test('two agents of one connection that follow one thread are both told each run, once', async () => {
  const server = await startAgentServer({ answer: (input) => paced(saying(input, 'a')) })
  const [page, writer] = [openPage(server.url, { follows: true }), openPage(server.url)]
  const twin = new HoldlineAgent({ connection: page.connection, threadId: 'thread' })
  onTestFinished(followAgent(twin))
  followAgent(page.agent)
  await when(() => page.connection.cursors.length === 1, 'both follow')
  page.connection.disconnect()
  await writer.say('one')
  await writer.say('two')
  page.connection.connect()
  for (const agent of [page.agent, twin]) {
    await when(() => agent.messages.length === 4 && !agent.isRunning, 'it has both answers')
    expect(agent.messages).toEqual(writer.agent.messages)
  }
  expect(page.types().filter((type) => type === 'RUN_STARTED')).toHaveLength(2)
})
