import { ChatClient } from '@tanstack/ai-client'
import { expect, onTestFinished, test } from 'vitest'
import { gate, openPage, paced, saying, startAgentServer, when } from '../../../src/__tests__/ag-ui/agentWorld'
import { agentConnection } from './connection'

/** A page with a chat of TanStack AI, over the connection of the recipe. */
function openChat(url: string) {
  const page = openPage(url)
  const errors: unknown[] = []
  const client = new ChatClient({
    connection: agentConnection(page.agent),
    threadId: 'thread',
    onError: (error) => void errors.push(error),
  })
  client.subscribe()
  onTestFinished(() => client.unsubscribe())
  return {
    ...page,
    client,
    errors,
    texts: () =>
      client
        .getMessages()
        .map(({ role, parts }) =>
          [role, ...parts.flatMap((part) => (part.type === 'text' ? [part.content] : []))].join(':'),
        ),
  }
}

test('the recipe for TanStack AI: sockets die in the middle of an answer, and the chat shows it whole', async () => {
  const server = await startAgentServer({
    answer: (input) =>
      paced(saying(input, 'a', 'b', 'c', 'd'), async (at) => {
        if (server.inputs.length > 1 || (at !== 3 && at !== 5)) return
        await when(
          () => chat.texts()[1] === (at === 3 ? 'assistant:a' : 'assistant:abc') && chat.connection.isOpen,
          'it reads',
        )
        server.destroySockets()
      }),
  })
  const chat = openChat(server.url)
  await chat.client.sendMessage('go')
  expect(chat.texts()).toEqual(['user:go', 'assistant:abcd'])
  await chat.client.sendMessage('more')
  expect([chat.texts().length, server.inputs.length, chat.errors]).toEqual([4, 2, []])
})

test('the recipe for TanStack AI: a second page shows the prompt and the answer, also when it comes in the middle', async () => {
  const half = gate()
  const server = await startAgentServer({
    answer: (input) => paced(saying(input, 'a', 'b'), (at) => (at === 3 ? half.opened : undefined)),
  })
  const [chat, early] = [openChat(server.url), openChat(server.url)]
  await when(() => early.connection.isOpen, 'open')
  const sending = chat.client.sendMessage('go')
  await when(() => early.texts()[1] === 'assistant:a', 'it follows')
  const late = openChat(server.url)
  await when(() => late.texts()[1] === 'assistant:a', 'it follows too')
  half.open()
  await sending
  for (const other of [early, late]) {
    await when(() => other.texts()[1] === 'assistant:ab', 'whole')
    expect([other.texts(), other.errors]).toEqual([['user:go', 'assistant:ab'], []])
  }
})

test('the recipe for TanStack AI: its stop turns away and the run goes on; the stop of the agent ends it', async () => {
  const server = await startAgentServer({
    answer: (input) => paced(saying(input, 'a', 'b'), (at) => (at === 3 ? gate().opened : undefined)),
  })
  const chat = openChat(server.url)
  const sending = chat.client.sendMessage('go')
  await when(() => chat.texts()[1] === 'assistant:a', 'it reads')
  chat.client.stop()
  await sending
  expect((await server.runs.active('thread')).run?.state).toBe('running')
  await chat.agent.stop().settled
  expect((await server.runs.active('thread')).run).toBeNull()
})
