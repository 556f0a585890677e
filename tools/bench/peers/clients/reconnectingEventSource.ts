import { EventSource } from 'eventsource'
import ReconnectingEventSource from 'reconnecting-eventsource'
import type { StartClient } from './client'

/** Its README: "assumes you have a working EventSource available"; Node 20 has none. */
export const startClient: StartClient = (url, app) => {
  const source = new ReconnectingEventSource(`${url}/events`, { eventSourceClass: EventSource })
  source.onopen = () => app.up()
  source.onerror = () => app.down()
  source.addEventListener('message', ({ data }) => app.hear(JSON.parse(data)))
  return {}
}
