import { io } from 'socket.io-client'
import type { StartClient } from './client'

export const startClient: StartClient = (url, app) => {
  const socket = io(url)
  socket.on('connect', () => app.up())
  socket.on('disconnect', () => app.down())
  socket.on('message', (message) => app.hear(message))
  return { send: (id) => new Promise((resolve) => socket.emit('prompt', id, () => resolve('acknowledged'))) }
}
