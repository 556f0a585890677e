// The little that is used of packages that only `npm run bench:peers` installs, so that `tsc`
// passes without them.

declare module 'reconnecting-eventsource' {
  type Options = { readonly eventSourceClass?: unknown }
  export default class ReconnectingEventSource {
    constructor(url: string, options?: Options)
    addEventListener(type: 'message', listener: (event: { readonly data: string }) => void): void
    onopen: () => void
    onerror: () => void
  }
}

declare module '@microsoft/fetch-event-source' {
  export const EventStreamContentType: string
  export function fetchEventSource(
    url: string,
    options: {
      readonly openWhenHidden: boolean
      onopen(response: Response): Promise<void>
      onmessage(message: { readonly data: string }): void
      onclose(): void
      onerror(error: unknown): void
    },
  ): Promise<void>
}

declare module 'centrifuge' {
  interface Subscription {
    on(name: 'subscribed' | 'subscribing', listener: () => void): void
    on(name: 'publication', listener: (publication: { readonly data: unknown }) => void): void
    subscribe(): void
  }
  export class Centrifuge {
    constructor(
      transports: readonly { readonly transport: 'sse'; readonly endpoint: string }[],
      options: { readonly emulationEndpoint: string; readonly eventsource: unknown },
    )
    newSubscription(channel: string): Subscription
    rpc(method: string, data: unknown): Promise<unknown>
    connect(): void
  }
}

declare module 'socket.io-client' {
  interface Socket {
    on(name: 'connect' | 'disconnect', listener: () => void): void
    on(name: 'message', listener: (message: unknown) => void): void
    emit(name: string, data: unknown, acknowledge: (error: Error | null) => void): void
  }
  export function io(url: string, options: { readonly retries?: number; readonly ackTimeout?: number }): Socket
}

declare module 'socket.io' {
  interface Socket {
    readonly conn: { once(name: 'upgrade', listener: () => void): void }
    on(name: 'prompt', listener: (id: string, acknowledge: () => void) => void): void
    emit(name: 'message', message: unknown): void
  }
  export class Server {
    constructor(server: import('node:http').Server)
    on(name: 'connection', listener: (socket: Socket) => void): void
    emit(name: 'message', message: unknown): void
    close(): Promise<void>
  }
}

declare module 'partysocket' {
  export class WebSocket {
    constructor(url: string, protocols: readonly string[], options: { readonly WebSocket: unknown })
    addEventListener(type: 'open' | 'close', listener: () => void): void
    addEventListener(type: 'message', listener: (event: { readonly data: string }) => void): void
    send(data: string): void
  }
}

declare module '@microsoft/signalr' {
  interface HubConnection {
    on(method: string, listener: (message: unknown) => void): void
    onreconnecting(listener: () => void): void
    onreconnected(listener: () => void): void
    onclose(listener: () => void): void
    start(): Promise<void>
    invoke(method: string, argument: unknown): Promise<unknown>
  }
  export const LogLevel: { readonly None: number }
  export class HubConnectionBuilder {
    withUrl(url: string): this
    withAutomaticReconnect(): this
    configureLogging(level: number): this
    build(): HubConnection
  }
}
