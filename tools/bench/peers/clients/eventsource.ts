import { EventSource } from 'eventsource'
import type { StartClient } from './client'

export const startClient: StartClient = (url, app) => {
  const source = new EventSource(`${url}/events`)
  source.addEventListener('open', () => app.up())
  source.addEventListener('error', () => app.down())
  source.addEventListener('message', ({ data }) => app.hear(JSON.parse(data)))
  return {}
}
