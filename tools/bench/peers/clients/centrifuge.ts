import { Centrifuge } from 'centrifuge'
import { EventSource } from 'eventsource'
import type { StartClient } from './client'

/**
 * In Node it is given an EventSource, and the whole URL of what a page would find at `/emulation`.
 */
export const startClient: StartClient = (url, app) => {
  const centrifuge = new Centrifuge([{ transport: 'sse', endpoint: `${url}/connection/sse` }], {
    emulationEndpoint: `${url}/emulation`,
    eventsource: EventSource,
  })
  const subscription = centrifuge.newSubscription('chat')
  let isUp = false
  subscription.on('subscribed', () => {
    isUp = true
    app.up()
  })
  subscription.on('subscribing', () => {
    if (isUp) app.down()
    isUp = false
  })
  subscription.on('publication', ({ data }) => app.hear(data))
  subscription.subscribe()
  centrifuge.connect()
  return { send: (id) => centrifuge.rpc('prompt', { id }).then(() => 'answered') }
}
