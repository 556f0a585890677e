import { isText } from '../../protocol'
import { checkFunction, checkMethods, checkNames } from '../check'
import type { Timers } from '../clock'
import { guardHooks } from '../hooks'
import { Budgets } from '../limits/budget'
import { LIMITS } from '../limits/limits'
import { Door } from './door'
import type { GatewaySocket } from './socket'
import { readUpgrade } from './webSocketFrames'
import { WebSocketLine } from './webSocketLine'

export interface WebSocketGatewayOptions {
  /** That of `createChatServer`, or of whatever stands before it. */
  fetch(request: Request): Response | Promise<Response>
  /**
   * Request headers that a client may set in its `hello`, because a browser cannot set them in its upgrade. No proxy sees a
   * `hello`, so name none that a proxy is trusted to set. What the upgrade carries is never overwritten. Default: `['authorization']`.
   */
  readonly headers?: readonly string[]
  /** `fetch` rejected, or a socket threw; the client was told no more than `internal`, or 1011. Default: `console.error`. */
  onError?(error: unknown): unknown
  /** Default: the global timers. */
  readonly clock?: Timers
}

export interface WebSocketGateway {
  /**
   * Serves a socket; to be called before its first message. `request` is its upgrade: the endpoints are where that was. It is read
   * before this returns, and not kept.
   *
   * @throws TypeError if it is no web-standard `Request`, such as Node's IncomingMessage; or if the host has closed it with the
   * upgrade, as Deno does: hand over a copy that was made before
   */
  accept(socket: GatewaySocket, request: Request): void
}

/**
 * The same server over WebSockets. A socket is one event stream and any number of POSTs, all of them requests to `fetch` in this
 * process: so authorisation, limits, receipts and the eviction of slow readers are those of HTTP.
 *
 * @throws TypeError naming the option, if one is invalid or unknown
 */
export function createWebSocketGateway(options: WebSocketGatewayOptions): WebSocketGateway {
  checkNames('createWebSocketGateway', options, ['fetch', 'headers', 'onError', 'clock'])
  const { fetch, headers: names = ['authorization'], clock = globalThis } = options
  checkFunction('fetch', fetch)
  if (options.onError !== undefined) checkFunction('onError', options.onError)
  const { onError } = guardHooks(options)
  checkMethods('clock', clock, ['setTimeout', 'clearTimeout'])
  if (!Array.isArray(names) || !names.every(isText)) throw new TypeError("'headers' must be an array of header names")
  const allowedHeaders = new Set(names.map((name) => name.toLowerCase()))
  const door = new Door()
  // For streams of a `fetch` that is not ours.
  const { process: account } = new Budgets(LIMITS.memory)

  return {
    accept(socket, request) {
      const line = new WebSocketLine({
        socket,
        upgrade: readUpgrade(request),
        fetch,
        clock,
        door,
        account,
        allowedHeaders,
        onError,
      })
      // An error here must cost this socket only: thrown in a listener, it ends the process.
      const guarded =
        <T>(listener: (value: T) => void) =>
        (value: T) => {
          try {
            listener(value)
          } catch (error) {
            line.fail(error)
          }
        }
      socket.addEventListener(
        'message',
        guarded(({ data }) => line.receive(data)),
      )
      // After an `error` a `close` follows; but the `ws` package throws an `error` without a listener.
      for (const type of ['close', 'error'] as const)
        socket.addEventListener(
          type,
          guarded(() => line.closed()),
        )
    },
  }
}
