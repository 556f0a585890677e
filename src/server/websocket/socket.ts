/**
 * The part of a WebSocket that the gateway uses. Those of the `ws` package fit, and native ones of
 * servers that may close with any code.
 */
export interface GatewaySocket {
  readonly readyState: number
  readonly bufferedAmount: number
  send(data: string): void
  close(code?: number, reason?: string): void
  /** Where there is one: at once, without what is still to be sent. */
  terminate?(): void
  addEventListener(
    type: 'message' | 'error' | 'close',
    listener: (event: { readonly type: string; readonly data?: unknown }) => void,
  ): void
}
