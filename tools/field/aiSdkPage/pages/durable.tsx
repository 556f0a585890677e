import { useChat } from '@ai-sdk/react'
import { createDurableChatTransport } from '@durable-streams/aisdk-transport'
import { chatId, history, show, View } from './view'

const transport = createDurableChatTransport({ api: '/api/chat' })

function Page() {
  const { messages, status, error, sendMessage, regenerate, stop } = useChat({
    id: chatId,
    messages: history,
    resume: true,
    transport,
  })
  const send = () => void sendMessage({ text: 'tell me' })
  const stopBoth = () => {
    const last = messages.at(-1)
    const body = JSON.stringify(last?.role === 'assistant' ? { assistantMessage: last } : {})
    void fetch(`/api/chat/${chatId}/stop`, { method: 'POST', body })
    void stop()
  }
  return <View {...{ messages, status, error, send, regenerate }} stop={stopBoth} />
}

show(<Page />)
