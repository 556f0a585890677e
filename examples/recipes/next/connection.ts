'use client'

import { createConnection } from 'holdline'
import { type ChatEvent, createChat, type Prompt } from '../chat'

// This is also evaluated where the page is built and rendered. Nothing happens there: only
// `connect()` needs a page.
export const connection = createConnection<ChatEvent, Prompt>({ url: '/api/chat' })
export const chat = createChat(connection, 's1')
