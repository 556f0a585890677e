import type {
  Connection,
  ConnectionEvents,
  ConnectionSnapshot,
  InboundMessage,
  OutboundMessage,
  Verdict,
} from 'holdline'

/** What a page tells the worker. */
export type ToHub =
  | { readonly type: 'send'; readonly id: string; readonly message: OutboundMessage }
  | { readonly type: 'watch' | 'unwatch'; readonly sessionId: string }

/** What a page is told. */
export type Relayed = 'message' | 'session' | 'delivery'
export interface Facts extends Pick<ConnectionEvents, Relayed> {
  readonly snapshot: ConnectionSnapshot
  readonly verdict: Verdict
}
export type ToPage = {
  readonly [Type in keyof Facts]: { readonly type: Type; readonly fact: Facts[Type] }
}[keyof Facts]

/**
 * One connection for all pages. It lives where the worker lives, and with it what its cursors stand
 * for: the worker keeps what was said in each session, and a page that comes later is told all of
 * it. Returns what takes a page in.
 */
export function createHub(connection: Connection): (port: MessagePort) => void {
  const pages = new Set<MessagePort>()
  const sessions = new Map<string, { readonly said: InboundMessage[]; readonly pages: Set<MessagePort> }>()

  function tell(to: Iterable<MessagePort>, { type, fact }: ToPage) {
    for (const port of to) port.postMessage({ type, fact: { ...fact, ...plainErrors(fact) } })
  }

  connection.subscribe((fact) => tell(pages, { type: 'snapshot', fact }))
  connection.on('delivery', (fact) => tell(pages, { type: 'delivery', fact }))
  connection.on('message', (fact) => {
    const session = sessions.get(String(fact.sessionId))
    if (!session) return
    session.said.push(fact)
    tell(session.pages, { type: 'message', fact })
  })
  connection.on('session', (fact) => {
    const session = sessions.get(fact.sessionId)
    if (!session) return
    if (fact.status === 'reset') session.said.length = 0
    tell(session.pages, { type: 'session', fact })
  })

  function watch(port: MessagePort, sessionId: string) {
    const session = sessions.get(sessionId) ?? { said: [], pages: new Set() }
    sessions.set(sessionId, session)
    connection.watch(sessionId)
    if (session.pages.has(port)) return
    session.pages.add(port)
    for (const fact of session.said) tell([port], { type: 'message', fact })
  }

  function unwatch(port: MessagePort, sessionId: string) {
    const session = sessions.get(sessionId)
    if (!session?.pages.delete(port) || session.pages.size) return
    sessions.delete(sessionId)
    connection.unwatch(sessionId)
  }

  return (port) => {
    pages.add(port)
    port.addEventListener('message', ({ data }: MessageEvent<ToHub>) => {
      if (data.type === 'send') {
        const { settled } = connection.send(data.message, { id: data.id })
        void settled.then((fact) => tell([port], { type: 'verdict', fact }))
      } else if (data.type === 'watch') watch(port, data.sessionId)
      else unwatch(port, data.sessionId)
    })
    // Where ports have no such event, what is told to a page that is gone goes nowhere.
    port.addEventListener('close', () => {
      pages.delete(port)
      for (const sessionId of [...sessions.keys()]) unwatch(port, sessionId)
    })
    port.start()
    tell([port], { type: 'snapshot', fact: connection.getSnapshot() })
    for (const { id, status, message, error } of connection.pending) {
      tell([port], { type: 'delivery', fact: { id, status, message, error } })
    }
  }
}

/** [spec] Structured cloning makes an `Error` of every error: without its `code`. */
const plainErrors = (fact: object) =>
  Object.fromEntries(
    Object.entries(fact).flatMap(([name, value]) =>
      value instanceof Error ? [[name, { ...value, message: value.message }]] : [],
    ),
  )
