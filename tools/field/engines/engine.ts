/** A tab, driven from outside. */
export interface Tab {
  /**
   * The value of an expression, as JSON; a promise is awaited. It may hang while a navigation is
   * under way.
   */
  evaluate<Value = unknown>(expression: string): Promise<Value>
  /** As a user does, with the mouse. */
  click(selector: string): Promise<void>
  close(): Promise<void>
}

/** A browser with a profile of its own. */
export interface Engine {
  readonly name: string
  readonly version: string
  /** A new tab in front, once the page is loaded. */
  open(url: string): Promise<Tab>
  close(): Promise<void>
}

export type Launch = (path: string) => Promise<Engine>
