import { createServer } from 'node:http'
import express from 'express'
import { createChat } from './server'

const chat = createChat()
const port = Number(process.env.PORT ?? 3000)
// A body that takes longer than 10 s is answered 408.
const timing = { requestTimeout: 10_000, connectionsCheckingInterval: 2_000 }
const server = createServer(timing, express().use('/api/chat', chat.router))
server.listen(port, () => console.log(`http://127.0.0.1:${port}/api/chat is ready`))

process.once('SIGTERM', () => {
  chat.close()
  server.close()
  setTimeout(() => server.closeAllConnections(), 10_000).unref()
})
