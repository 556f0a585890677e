import { createServer } from 'node:http'
import express from 'express'
import { createChat } from './server'

const chat = createChat()
// A body that takes longer than 10 s is answered 408.
const timing = { requestTimeout: 10_000, connectionsCheckingInterval: 2_000 }
const server = createServer(timing, express().use('/api/chat', chat.router))
server.listen(Number(process.env.PORT ?? 3000), () => console.log('http://127.0.0.1:3000/api/chat is ready'))

process.once('SIGTERM', () => {
  chat.close()
  server.close()
})
