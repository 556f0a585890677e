import { Chat, useChat } from '@ai-sdk/react'
import { createConnection } from 'holdline'
import { createChatTransport, followChat } from 'holdline/ai-sdk'
import { persist } from 'holdline/storage'
import { useEffect, useState } from 'react'
import { chatId, history, show, View } from './view'

const connection = createConnection({ url: '/api/line', storage: persist(() => localStorage) })
const transport = createChatTransport(connection)
connection.on('error', () => {})

function Page() {
  const [chat] = useState(() => new Chat({ id: chatId, messages: history, transport }))
  const { messages, status, error, sendMessage, regenerate } = useChat({ chat })
  useEffect(() => {
    connection.connect()
    return followChat(chat, transport)
  }, [chat])
  const send = () => void sendMessage({ text: 'tell me' })
  const stop = () => void transport.stop(chatId)
  return <View {...{ messages, status, error, send, stop, regenerate }} />
}

show(<Page />)
