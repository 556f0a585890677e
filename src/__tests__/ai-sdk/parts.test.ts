import {
  lastAssistantMessageIsCompleteWithApprovalResponses,
  lastAssistantMessageIsCompleteWithToolCalls,
  type UIMessage,
  type UIMessageChunk,
} from 'ai'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../testing/harness/random'
import { type Answer, gate, openPage, paced, startChatServer, when } from './chatWorld'

const rich: readonly UIMessageChunk[] = [
  { type: 'start', messageId: 'm1', messageMetadata: { model: 'x' } },
  { type: 'start-step' },
  { type: 'reasoning-start', id: 'r' },
  ...['think', 'ing ', 'hard'].map((delta): UIMessageChunk => ({ type: 'reasoning-delta', id: 'r', delta })),
  { type: 'reasoning-end', id: 'r', providerMetadata: { p: { signature: 'abc' } } },
  { type: 'tool-input-start', toolCallId: 'c1', toolName: 'weather' },
  ...['{"ci', 'ty":"Bo', 'nn"}'].map(
    (inputTextDelta): UIMessageChunk => ({ type: 'tool-input-delta', toolCallId: 'c1', inputTextDelta }),
  ),
  { type: 'tool-input-available', toolCallId: 'c1', toolName: 'weather', input: { city: 'Bonn' } },
  { type: 'tool-output-available', toolCallId: 'c1', output: { type: 'ui', seq: 5, degrees: 21 } },
  { type: 'tool-input-error', toolCallId: 'c2', toolName: 'weather', input: 'nonsense', errorText: 'no city' },
  { type: 'finish-step' },
  { type: 'start-step' },
  { type: 'text-start', id: 't1' },
  ...['It is ', '21 °C', ' 🌤', ' now'].map((delta): UIMessageChunk => ({ type: 'text-delta', id: 't1', delta })),
  { type: 'text-end', id: 't1' },
  { type: 'file', url: 'data:image/png;base64,iVBORw0KGgo=', mediaType: 'image/png' },
  { type: 'source-url', sourceId: 's1', url: 'https://example.com/', title: 'there' },
  { type: 'source-document', sourceId: 's2', mediaType: 'application/pdf', title: 'that' },
  { type: 'data-card', id: 'd1', data: { sessionId: 'none', n: 1 } },
  { type: 'data-card', id: 'd1', data: { sessionId: 'none', n: 2 } },
  { type: 'text-start', id: 't2' },
  { type: 'text-delta', id: 't2', delta: 'Bye' },
  { type: 'text-end', id: 't2' },
  { type: 'finish-step' },
  { type: 'finish', finishReason: 'stop', messageMetadata: { tokens: 7 } },
]

/** Of a chat whose stream nothing happens to. */
async function undisturbed(chunks: readonly UIMessageChunk[]): Promise<UIMessage[]> {
  const { Chat } = await import('@ai-sdk/react')
  const chat = new Chat<UIMessage>({
    id: 'chat',
    transport: { sendMessages: async () => paced(chunks), reconnectToStream: async () => null },
  })
  await chat.sendMessage({ text: 'go' })
  return chat.messages.slice(1)
}

test.each([1, 2, 3, 4, 5, 6])('every part arrives as it is, wherever the sockets are cut (seed %i)', async (seed) => {
  const random = seededRandom(seed)
  const server = await startChatServer({
    answer: () =>
      paced(rich, async () => {
        if (random() < 0.2) server.destroySockets()
        await new Promise((resolve) => setTimeout(resolve, 12 * random()))
      }),
  })
  const page = openPage(server.url)
  const other = openPage(server.url, { follows: true })
  await when(() => other.connection.cursors.length === 1, 'it follows')
  await page.chat.sendMessage({ text: 'go' })
  const expected = await undisturbed(rich)
  expect(page.chat.messages.slice(1)).toEqual(expected)
  expect(page.statuses).toEqual(['submitted', 'streaming', 'ready'])
  await when(() => other.chat.status === 'ready' && other.chat.messages.length === 2, 'the other has it')
  expect(other.chat.messages.slice(1)).toEqual(expected)
})

describe.each([11, 12, 13])('a run that waits for the client, cut at random (seed %i)', (seed) => {
  const asking: readonly UIMessageChunk[] = [
    { type: 'start' },
    { type: 'start-step' },
    { type: 'text-start', id: 't' },
    { type: 'text-delta', id: 't', delta: 'Let me see. ' },
    { type: 'text-end', id: 't' },
    { type: 'tool-input-start', toolCallId: 'c1', toolName: 'place' },
    { type: 'tool-input-available', toolCallId: 'c1', toolName: 'place', input: {} },
    { type: 'finish-step' },
    { type: 'finish', finishReason: 'tool-calls' },
  ]
  const ending = (delta: string, ...before: readonly UIMessageChunk[]): readonly UIMessageChunk[] => [
    { type: 'start' },
    ...before,
    { type: 'start-step' },
    { type: 'text-start', id: 't2' },
    ...[...delta].map((letter): UIMessageChunk => ({ type: 'text-delta', id: 't2', delta: letter })),
    { type: 'text-end', id: 't2' },
    { type: 'finish-step' },
    { type: 'finish', finishReason: 'stop' },
  ]
  const random = seededRandom(seed)
  const start = async (answer: Answer) => {
    const server = await startChatServer({ answer })
    const shake = async () => {
      if (random() < 0.15) server.destroySockets()
      await new Promise((resolve) => setTimeout(resolve, 10 * random()))
    }
    return { server, shake }
  }

  test('a tool of the client: its output goes on with the same run, and every page has the whole message', async () => {
    const { server, shake } = await start(({ messages }) =>
      messages.at(-1)?.role === 'user' ? paced(asking, shake) : paced(ending('You are in Bonn.'), shake),
    )
    const page = openPage(server.url, { sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls })
    const other = openPage(server.url, { follows: true })
    await page.chat.sendMessage({ text: 'where am I?' })
    const { run } = await server.runs.active('chat')
    expect(run).toMatchObject({ state: 'suspended', waitsFor: { toolCallIds: ['c1'] } })
    await when(() => other.chat.status === 'ready' && other.chat.messages.length === 2, 'the other has the call')
    // A page that comes now sees that something waits.
    const late = openPage(server.url)
    await late.chat.resumeStream()
    expect(late.chat.messages.at(-1)?.parts.at(-1)).toMatchObject({ type: 'tool-place', state: 'input-available' })
    await page.chat.addToolOutput({ tool: 'place', toolCallId: 'c1', output: 'Bonn' })
    await when(() => page.chat.status === 'ready' && page.text().endsWith('Bonn.'), 'the answer')
    expect(page.text()).toBe('Let me see. |You are in Bonn.')
    expect(server.contexts.map(({ run }) => run)).toEqual([run?.id, run?.id])
    await when(() => other.chat.status === 'ready' && other.text().endsWith('Bonn.'), 'the other has it')
    expect(other.chat.messages).toEqual(page.chat.messages)
    expect(page.chat.messages).toHaveLength(2)
  })

  test.each([true, false])(
    'an approval that is answered with %s goes on with the same run; a second answer is told',
    async (approved) => {
      const { server, shake } = await start(({ messages }) =>
        messages.at(-1)?.role === 'user'
          ? paced(
              [
                ...asking.slice(0, -2),
                { type: 'tool-approval-request', approvalId: 'a1', toolCallId: 'c1' },
                ...asking.slice(-2),
              ],
              shake,
            )
          : paced(
              ending(
                'Done.',
                approved
                  ? { type: 'tool-output-available', toolCallId: 'c1', output: 'Bonn' }
                  : { type: 'tool-output-denied', toolCallId: 'c1' },
              ),
              shake,
            ),
      )
      const setup = { sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses }
      const page = openPage(server.url, { ...setup, follows: true })
      const other = openPage(server.url, { ...setup, follows: true })
      await page.chat.sendMessage({ text: 'where am I?' })
      await when(() => other.chat.status === 'ready' && other.chat.messages.length === 2, 'the other is asked')
      // The one that follows answers.
      await other.chat.addToolApprovalResponse({ id: 'a1', approved })
      for (const { chat, text } of [page, other]) {
        await when(() => chat.status === 'ready' && text().endsWith('Done.'), 'the answer')
        expect(chat.messages).toHaveLength(2)
        expect(chat.messages.at(-1)?.parts).toContainEqual(
          expect.objectContaining({ toolCallId: 'c1', state: approved ? 'output-available' : 'output-denied' }),
        )
      }
      expect(server.contexts).toHaveLength(2)
    },
  )

  test('a prompt in place of the answer ends the run that waits', async () => {
    const { server, shake } = await start(({ messages }) =>
      messages.length === 1 ? paced(asking, shake) : paced(ending('Never mind.'), shake),
    )
    const page = openPage(server.url)
    await page.chat.sendMessage({ text: 'where am I?' })
    await page.chat.sendMessage({ text: 'forget it' })
    expect([page.text(), page.chat.status]).toEqual(['Never mind.', 'ready'])
    expect((await server.runs.active('chat')).run).toBeNull()
  })

  test('a page that is reloaded while the run goes on has the step before it too', async () => {
    const half = gate()
    const { server } = await start(({ messages }) =>
      messages.at(-1)?.role === 'user'
        ? paced(asking)
        : paced(ending('You are in Bonn.'), (at) => (at === 8 ? half.opened : undefined)),
    )
    const page = openPage(server.url, { sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls })
    await page.chat.sendMessage({ text: 'where am I?' })
    const history = JSON.parse(JSON.stringify(page.chat.messages)) as UIMessage[]
    await page.chat.addToolOutput({ tool: 'place', toolCallId: 'c1', output: 'Bonn' })
    await when(() => page.text().includes('|You'), 'it goes on')
    const reloaded = openPage(server.url, { messages: history })
    const resuming = reloaded.chat.resumeStream()
    await when(() => reloaded.text().includes('|You') && reloaded.chat.status === 'streaming', 'it reads on')
    half.open()
    await resuming
    expect(reloaded.text()).toBe('Let me see. |You are in Bonn.')
    expect(reloaded.chat.messages).toHaveLength(2)
    expect(reloaded.chat.messages.at(-1)?.parts).toContainEqual(
      expect.objectContaining({ toolCallId: 'c1', state: 'output-available', output: 'Bonn' }),
    )
  })
})
