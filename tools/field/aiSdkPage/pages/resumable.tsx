import { useChat } from '@ai-sdk/react'
import { DefaultChatTransport } from 'ai'
import { chatId, history, show, View } from './view'

const transport = new DefaultChatTransport({
  prepareSendMessagesRequest: ({ id, messages }) => ({ body: { id, message: messages.at(-1) } }),
})

function Page() {
  const { messages, status, error, sendMessage, regenerate, stop } = useChat({
    id: chatId,
    messages: history,
    resume: true,
    transport,
  })
  const send = () => void sendMessage({ text: 'tell me' })
  return (
    <View
      {...{ messages, status, error, send, regenerate }}
      stop={() => stopBoth(messages.at(-1), () => void stop())}
    />
  )
}

/** The documented stop: the server is told, with what the page has; then the page reads no more. */
function stopBoth(last: { readonly role: string } | undefined, stop: () => void) {
  void fetch(`/api/chat/${chatId}/stop`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(last?.role === 'assistant' ? { assistantMessage: last } : {}),
  })
  stop()
}

show(<Page />)
