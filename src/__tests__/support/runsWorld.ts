import { type Connection, type ConnectionOptions, createConnection } from 'holdline'
import { onTestFinished, vi } from 'vitest'
import { listen } from '../../../tools/shared/listen'
import {
  type ChatServer,
  type ChatServerOptions,
  type CommandCall,
  createChatServer,
  type SessionLog,
} from '../../server'
import { createRuns, type Runs, type RunsOptions } from '../../server/runs'

// What the worlds of the AI SDK and of AG-UI share: a server half with runs, and a page's line.

export interface RunsServerSetup extends Pick<RunsOptions, 'onBusy' | 'lease' | 'suspendAge'> {
  readonly log?: SessionLog
  readonly authorize?: ChatServerOptions['authorize']
}

/** A real server half, where `alice` may do everything, unless `authorize` says otherwise. */
export async function startRunsServer(
  { log, authorize = () => true, ...settings }: RunsServerSetup,
  createOnCommand: (runs: Runs) => ChatServerOptions['onCommand'],
) {
  const errors: unknown[] = []
  const server: ChatServer = createChatServer({
    ...(log && { log }),
    authenticate: () => ({ id: 'alice' }),
    authorize,
    onCommand: (call) => onCommand(call),
    onError: (error) => void errors.push(error),
    allowedHosts: 'any',
    limits: { bodyRate: 2 ** 30 },
  })
  const runs: Runs = createRuns({ server, ...settings })
  const onCommand = createOnCommand(runs)
  const http = await listen((request) => server.fetch(request))
  onTestFinished(async () => {
    await Promise.all([server.close(), http.close()])
  })
  return {
    ...http,
    get streams() {
      return http.streams
    },
    server,
    runs,
    errors,
  }
}

type Event = { readonly type: string; readonly [field: string]: unknown }

/** A server whose every answer and event is written by the test. */
export async function startScripted(sessionId: string, onCommand: (call: CommandCall) => unknown) {
  const server = createChatServer({
    authenticate: () => ({ id: 'alice' }),
    authorize: () => true,
    onCommand,
    allowedHosts: 'any',
  })
  const http = await listen((request) => server.fetch(request))
  onTestFinished(async () => {
    await Promise.all([server.close(), http.close()])
  })
  let last: Promise<unknown> = Promise.resolve()
  const publish = (...events: readonly Event[]) => {
    for (const event of events) last = last.then(() => server.publish(sessionId, event))
    return last
  }
  return { url: http.url, publish }
}

/** The connection of a page that comes back fast, and whose sockets die on purpose. */
export function createLine(url: string, options: Partial<ConnectionOptions> = {}): Connection {
  const connection: Connection = createConnection({
    url,
    backoff: { base: 10, cap: 40 },
    pageLifecycle: false,
    ...options,
  })
  connection.on('error', () => {})
  onTestFinished(() => connection.dispose())
  return connection
}

/** The pace of a source that is in no hurry, and in no timer's hands. */
export const tick = () => new Promise((resolve) => setImmediate(resolve))

export const words = (count: number) => Array.from({ length: count }, (_, index) => `${index} `)

/** Resolves when the test opens it. */
export function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open: () => open(), opened }
}

export const when = (isMet: () => unknown, what: string) =>
  vi.waitFor(
    () => {
      if (!isMet()) throw new Error(`never happened: ${what}`)
    },
    { timeout: 20_000, interval: 5 },
  )
