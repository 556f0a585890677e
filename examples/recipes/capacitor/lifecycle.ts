import type { PageLifecycle } from 'holdline'

/** What is used of `App` from `@capacitor/app`. */
export interface AppPlugin {
  addListener(event: 'pause', listener: () => void): Promise<Handle>
  addListener(event: 'resume', listener: () => void): Promise<Handle>
}
/** What is used of `Network` from `@capacitor/network`. */
export interface NetworkPlugin {
  addListener(event: 'networkStatusChange', listener: (status: { connected: boolean }) => void): Promise<Handle>
}
interface Handle {
  remove(): Promise<void>
}

/**
 * An app in a web view: the system suspends all of it, timers and sockets too, and tells it when it
 * is back.
 *
 * `pause` and `resume`, not `appStateChange`: on iOS that one also fires for the notification
 * centre or a call, during which nothing is suspended.
 */
export function capacitorLifecycle(app: AppPlugin, network: NetworkPlugin, now = Date.now): PageLifecycle {
  return {
    subscribe(listener) {
      let awaySince = now()
      const handles = [
        app.addListener('pause', () => {
          awaySince = now()
          listener({ type: 'suspend' })
        }),
        app.addListener('resume', () => listener({ type: 'wake', awayFor: now() - awaySince })),
        // Only changes are told: from none, or from Wi-Fi to cellular. What was open belongs to an
        // address that is gone.
        network.addListener('networkStatusChange', ({ connected }) => {
          if (connected) listener({ type: 'reconnect' })
        }),
      ]
      return () => {
        for (const handle of handles) void handle.then((added) => added.remove())
      }
    },
  }
}
