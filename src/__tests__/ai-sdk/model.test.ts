// The mock models of version 6, which version 7 has others for.
import { streamText } from 'ai'
import { MockLanguageModelV3, simulateReadableStream } from 'ai/test'
import { expect, test } from 'vitest'
import { openPage, startChatServer, when } from './chatWorld'

test('streamText with a model: its answer, its id, and its abort', async () => {
  let aborted: unknown
  const model = (deltas: readonly string[], isSlow: boolean) =>
    new MockLanguageModelV3({
      async doStream({ abortSignal }) {
        abortSignal?.addEventListener('abort', () => {
          aborted = abortSignal.reason
        })
        return {
          stream: simulateReadableStream({
            chunkDelayInMs: isSlow ? 50 : 0,
            chunks: [
              { type: 'text-start', id: '1' },
              ...deltas.map((delta) => ({ type: 'text-delta', id: '1', delta }) as const),
              { type: 'text-end', id: '1' },
              {
                type: 'finish',
                finishReason: { unified: 'stop', raw: undefined },
                usage: {
                  inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
                  outputTokens: { total: 1, text: 1, reasoning: 0 },
                },
              },
            ],
          }),
        }
      },
    })
  const finished: string[] = []
  const server = await startChatServer({
    answer: ({ messages, signal, responseId }) =>
      streamText({
        model: model(['Hello ', 'world'], messages.length > 1),
        prompt: 'x',
        abortSignal: signal,
      }).toUIMessageStream({
        originalMessages: messages,
        generateMessageId: () => responseId,
        onFinish: ({ responseMessage }) => void finished.push(responseMessage.id),
      }),
  })
  const page = openPage(server.url)
  await page.chat.sendMessage({ text: 'go' })
  expect([page.text(), page.chat.status]).toEqual(['Hello world', 'ready'])
  expect(finished).toEqual([page.chat.messages[1]?.id])
  const sending = page.chat.sendMessage({ text: 'again' })
  await when(() => page.text().startsWith('Hello') && page.chat.messages.length === 4, 'it reads')
  page.transport.stop('chat')
  await sending
  await when(() => aborted, 'the model is aborted')
})
