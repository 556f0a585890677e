/** The app of a client: it is told what the library tells an app. */
export interface App {
  /** The line may be used: sessions, channels and handshakes included. */
  up(): void
  /** The library has noticed that the line is lost. */
  down(): void
  hear(message: unknown): void
}

export interface Client {
  /**
   * Resolves with what the app is told of the prompt, if it is told anything. Without it there is
   * no way up.
   */
  send?(id: string): Promise<string>
}

export type StartClient = (url: string, app: App) => Client
