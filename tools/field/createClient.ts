import {
  defaultEventSource,
  type EventSourceFactory,
  eventSourceTransport,
  fetchStreamTransport,
} from 'holdline/adapters'
import { type WebSocketClass, type WebSocketEvent, webSocketTransport } from 'holdline/adapters/websocket'
import type { ContractHost, ContractPromise } from 'holdline/testing'
import type { TransportName } from './contract'

type Client = Pick<ContractHost, 'transport' | 'options' | 'hush'>
type Listener = (event: WebSocketEvent) => void

/**
 * The client's half of a contract's host: as an app has it by default, but for a case that ends its
 * stream behind its back.
 */
export function createClient(
  name: TransportName,
  needs: ContractPromise | undefined,
  Socket: WebSocketClass = WebSocket,
): Client {
  if (name === 'fetch') return { transport: fetchStreamTransport }
  const isHushed = needs === 'silent-ends'
  if (name === 'EventSource') return isHushed ? hushedEventSource() : { transport: eventSourceTransport }
  return isHushed ? hushedWebSocket(Socket) : { transport: webSocketTransport() }
}

function hushedEventSource(): Client {
  let last: { close(): void } | undefined
  const createEventSource: EventSourceFactory = async (url, setup) => {
    const source = await defaultEventSource(false)(url, setup)
    last = source
    return source
  }
  return { transport: eventSourceTransport, options: { createEventSource }, hush: () => last?.close() }
}

function hushedWebSocket(Socket: WebSocketClass): Client {
  let hush = () => {}
  class Hushed extends Socket {
    private isHushed = false
    constructor(url: string) {
      super(url)
      hush = () => {
        this.isHushed = true
        this.close()
      }
    }
    override addEventListener(type: 'open' | 'message' | 'error' | 'close', listener: Listener) {
      super.addEventListener(type, (event) => this.isHushed || listener(event))
    }
  }
  return { transport: webSocketTransport({ WebSocket: Hushed }), hush: () => hush() }
}
