import { EventStreamContentType, fetchEventSource } from '@microsoft/fetch-event-source'
import type { StartClient } from './client'

// For browsers. In Node it needs `openWhenHidden` and a `window` with these (its issue 39).
const page = {
  fetch: globalThis.fetch,
  setTimeout: (callback: () => void, ms: number) => setTimeout(callback, ms),
  clearTimeout: (timer: NodeJS.Timeout) => clearTimeout(timer),
}
Object.assign(globalThis, { window: page, document: { removeEventListener() {} } })

/**
 * As in the example of its README: what is a stream is heard, what else may pass is tried again.
 */
export const startClient: StartClient = (url, app) => {
  void fetchEventSource(`${url}/events`, {
    openWhenHidden: true,
    async onopen(response) {
      const isStream = response.headers.get('content-type')?.startsWith(EventStreamContentType)
      if (!response.ok || !isStream) throw new Error(`answered ${response.status}`)
      app.up()
    },
    onmessage: ({ data }) => app.hear(JSON.parse(data)),
    onclose() {
      throw new Error('the server has ended the stream')
    },
    onerror() {
      app.down()
    },
  })
  return {}
}
