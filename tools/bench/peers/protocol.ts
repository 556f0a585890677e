/** What is said between a client's process and the measurements. */
export type ClientName =
  | 'holdline'
  | 'holdline-fetch'
  | 'holdline-websocket'
  | 'eventsource'
  | 'reconnecting-eventsource'
  | 'fetch-event-source'
  | 'centrifuge'
  | 'socket.io'
  | 'socket.io-retries'
  | 'partysocket'
  | 'signalr'

/** To the client: send a prompt with this id. */
export interface Command {
  readonly prompt: string
}

/** From the client. `at`: ms of the machine's monotonic clock. */
export type Report =
  | { readonly is: 'up'; readonly at: number }
  | { readonly is: 'down'; readonly at: number }
  | { readonly is: 'heard'; readonly at: number; readonly text: string }
  | { readonly is: 'told'; readonly at: number; readonly told: string }
  /** `cpu`: µs of the process from the first message to the last. */
  | { readonly is: 'flooded'; readonly at: number; readonly cpu: number; readonly characters: number }
