export type { AnyConnection } from './holdLine'
export type { SessionStore } from './sessions'
export { sessionStore } from './sessions'
export type { Loaded, SessionEnd, SessionOptions, SessionView, SessionViewStatus, StatePlace } from './types'
