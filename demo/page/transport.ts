import type { ConnectionOptions } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'

/**
 * What may carry the page's connections, by the value of its option. The first is the library's
 * default.
 */
const TRANSPORTS: Readonly<Record<string, Pick<ConnectionOptions, 'transport'>>> = {
  eventSource: {},
  fetchStream: { transport: fetchStreamTransport },
  webSocket: { transport: webSocketTransport() },
}
const NAME = 'transport'

const chosen = new URLSearchParams(location.search).get(NAME) ?? ''
const current = Object.hasOwn(TRANSPORTS, chosen) ? chosen : 'eventSource'

/**
 * The option for `createConnection`. A line keeps what carries it, so another choice is another
 * page; the chat is the same.
 */
export const transport = TRANSPORTS[current] ?? {}

/** A WebSocket carries the POSTs as well, so no other tab can use it. */
export const sharing = current === 'webSocket' ? 'own' : 'auto'

export function bindTransportSwitch(select: HTMLSelectElement) {
  select.value = current
  select.addEventListener('change', () => {
    const url = new URL(location.href)
    url.searchParams.set(NAME, select.value)
    location.assign(url)
  })
}
