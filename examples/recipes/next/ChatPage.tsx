'use client'

import { Chat } from '../react/Chat'
import { ConnectionProvider, Status } from '../react/connection'
import { chat, connection } from './connection'

export const ChatPage = () => (
  <ConnectionProvider connection={connection}>
    <Status />
    <Chat chat={chat} />
  </ConnectionProvider>
)
