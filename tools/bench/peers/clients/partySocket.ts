import { WebSocket as PartySocket } from 'partysocket'
import { WebSocket } from 'ws'
import type { StartClient } from './client'

/** Its README: in Node it is given the WebSocket of `ws`. */
export const startClient: StartClient = (url, app) => {
  const socket = new PartySocket(url.replace('http', 'ws'), [], { WebSocket })
  socket.addEventListener('open', () => app.up())
  socket.addEventListener('close', () => app.down())
  socket.addEventListener('message', ({ data }) => app.hear(JSON.parse(data)))
  return {
    send(id) {
      socket.send(id)
      return new Promise(() => {})
    },
  }
}
