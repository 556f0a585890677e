import { io } from 'socket.io-client'
import type { StartClient } from './client'

const start =
  (options: { readonly retries?: number; readonly ackTimeout?: number }): StartClient =>
  (url, app) => {
    const socket = io(url, options)
    socket.on('connect', () => app.up())
    socket.on('disconnect', () => app.down())
    socket.on('message', (message) => app.hear(message))
    return {
      send: (id) =>
        new Promise((resolve, reject) =>
          socket.emit('prompt', id, (error: Error | null) => (error ? reject(error) : resolve('acknowledged'))),
        ),
    }
  }

export const byDefault = start({})
/** As its docs say under "at least once". */
export const atLeastOnce = start({ retries: 3, ackTimeout: 10_000 })
