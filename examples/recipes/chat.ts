import type { Connection, ConnectionEvents, Delivery, DeliveryStatus } from 'holdline'

/**
 * What the server publishes. `id`, and later `answer`, is the id of the message that asked, so they
 * find each other.
 */
export type ChatNews =
  | { readonly type: 'prompt'; readonly id: string; readonly text: string }
  | { readonly type: 'token'; readonly answer: string; readonly text: string }
/** … and what arrives of it. */
export type ChatEvent = ChatNews & { readonly sessionId: string; readonly seq: number }
export type Prompt = { readonly type: 'send'; readonly sessionId: string; readonly prompt: string }
export type ChatConnection = Connection<ChatEvent, Prompt>

export interface Bubble {
  readonly id: string
  readonly from: 'me' | 'agent'
  readonly text: string
  /** Of a prompt that the session does not have yet. */
  readonly status?: DeliveryStatus
}

/** What a chat needs of a connection. */
export interface ChatLine {
  watch(sessionId: string): () => void
  on<Name extends 'message' | 'delivery' | 'session'>(
    name: Name,
    listener: (event: ConnectionEvents<ChatEvent, Prompt>[Name]) => void,
  ): () => void
  readonly pending: readonly Pick<Delivery<Prompt>, 'id' | 'message' | 'status'>[]
  send(message: Prompt): Pick<Delivery<Prompt>, 'id' | 'settled'>
}

export type Chat = ReturnType<typeof createChat>

/**
 * What a page shows of one session: what was said, and below it what is on its way. It is no part
 * of a component, because it belongs to the cursor: events that were applied do not come again, so
 * what they made must live as long as the connection follows the session.
 */
export function createChat(line: ChatLine, sessionId: string) {
  let said: readonly Bubble[] = []
  let mine: readonly Bubble[] = []
  let shown: readonly Bubble[] = []
  const listeners = new Set<() => void>()

  function show() {
    shown = [...said, ...mine]
    for (const listener of listeners) listener()
  }

  function apply(event: ChatEvent) {
    if (event.sessionId !== sessionId) return
    if (event.type === 'prompt') {
      mine = mine.filter(({ id }) => id !== event.id)
      said = [...said, { id: event.id, from: 'me', text: event.text }]
    } else if (event.type === 'token') {
      const id = `answer-${event.answer}`
      const text = (said.find((bubble) => bubble.id === id)?.text ?? '') + event.text
      said = put(said, { id, from: 'agent', text })
    }
    show()
  }

  function track({ id, status, message }: ChatLine['pending'][number]) {
    // The event may come before the verdict.
    if (message.sessionId !== sessionId || said.some((bubble) => bubble.id === id)) return
    mine = put(mine, { id, from: 'me', text: message.prompt, status })
    show()
  }

  const offs = [
    line.on('message', apply),
    line.on('delivery', track),
    line.on('session', (news) => {
      if (news.sessionId !== sessionId || news.status !== 'reset') return
      said = []
      show()
    }),
  ]
  for (const delivery of line.pending) track(delivery)
  const unwatch = line.watch(sessionId)

  return {
    /** In any phase, also offline. */
    say: (prompt: string) => line.send({ type: 'send', sessionId, prompt }),
    getSnapshot: () => shown,
    subscribe(listener: () => void) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    /** Follows the session no longer. */
    leave() {
      for (const off of offs) off()
      unwatch()
    },
  }
}

/** In its place, or at the end. */
const put = (bubbles: readonly Bubble[], bubble: Bubble) =>
  bubbles.some(({ id }) => id === bubble.id)
    ? bubbles.map((other) => (other.id === bubble.id ? bubble : other))
    : [...bubbles, bubble]
