import type { EventSourceFactory, PageLifecycle } from 'holdline'

/** The part of `react-native-sse`'s EventSource that is used. */
export type SseClass = new (
  url: string,
  options: {
    readonly headers: Readonly<Record<string, string>>
    readonly withCredentials: boolean
    readonly pollingInterval: number
    readonly timeoutBeforeConnection: number
  },
) => {
  addEventListener(type: string, listener: (event: SseEvent) => void): void
  close(): void
}
/** Which field is there depends on the event's type. */
interface SseEvent {
  readonly data?: string | null
  readonly message?: string
  readonly xhrStatus?: number
}

/**
 * React Native has no EventSource, and its `fetch` gives nothing before the end. `react-native-sse`
 * reads an XMLHttpRequest while it grows. It sends `headers`, and no retry of its own races the
 * connection's.
 */
export const sseEventSource =
  (EventSource: SseClass, headers: () => Promise<Record<string, string>> = async () => ({})): EventSourceFactory =>
  async (url, { withCredentials }) => {
    const options = { headers: await headers(), withCredentials, pollingInterval: 0, timeoutBeforeConnection: 0 }
    const source = new EventSource(url, options)
    return {
      addEventListener(type, listener) {
        const tell = ({ data, message, xhrStatus }: SseEvent) =>
          listener({ data: data ?? '', message, code: xhrStatus || undefined })
        source.addEventListener(type, tell)
        // The end of the stream is an event of its own there.
        if (type === 'error') source.addEventListener('done', () => listener({ message: 'the stream ended' }))
      },
      close: () => source.close(),
    }
  }

/** The part of `AppState` from `react-native` that is used. */
export interface AppStateModule {
  addEventListener(type: 'change', listener: (state: string) => void): { remove(): void }
}
/** The part of `@react-native-community/netinfo` that is used. */
export interface NetInfoModule {
  addEventListener(listener: (state: { readonly isConnected: boolean | null }) => void): () => void
}

/**
 * The system suspends an app in the background. `inactive`, e.g. under the notification centre, is
 * not that.
 */
export function appLifecycle(app: AppStateModule, network: NetInfoModule, now = Date.now): PageLifecycle {
  return {
    subscribe(listener) {
      let awaySince: number | null = null
      let isConnected: boolean | null = null
      const subscription = app.addEventListener('change', (state) => {
        if (state === 'background') {
          awaySince ??= now()
          listener({ type: 'suspend' })
        } else if (state === 'active' && awaySince !== null) {
          listener({ type: 'wake', awayFor: now() - awaySince })
          awaySince = null
        }
      })
      // The first call tells how it is, not that it has changed.
      const unsubscribe = network.addEventListener((state) => {
        if (state.isConnected && isConnected === false) listener({ type: 'reconnect' })
        isConnected = state.isConnected
      })
      return () => {
        subscription.remove()
        unsubscribe()
      }
    },
  }
}
