import type { Mishap } from './events'

/** One request of a client on its way to the chat server. */
export interface Passage {
  /** Tells one connection of one visitor from all others. */
  readonly clientId: string
  readonly request: Request
  readonly next: (request: Request) => Promise<Response>
  /** Destroys the socket that the answer is written to. */
  readonly hangUp: () => void
}

export interface MishapsOptions {
  /** How late an answer to a resume is, ms. */
  readonly lateMs: number
  /**
   * For how long nothing of a client gets through after a drop, and of anybody after a restart, ms.
   */
  readonly awayMs: number
}

/** The restart is not among them: it happens to the server, not on the way to it. */
export type LineMishap = Exclude<Mishap, 'restart'>
const MAX_WAITING = 1_000

interface Client {
  readonly streams: Set<Tap>
  failResume: boolean
  delayResume: boolean
  /** Until then nothing of it gets through, ms since the epoch. */
  awayUntil: number
}

/**
 * Stands between Hono and the chat server, and does to one client's requests what networks and
 * servers do to them.
 */
export class Mishaps {
  readonly #options: MishapsOptions
  /** Those with a stream, or with a mishap that waits for their resume. */
  readonly #clients = new Map<string, Client>()
  /** Until then nothing of anybody gets through, ms since the epoch. */
  #downUntil = 0

  constructor(options: MishapsOptions) {
    this.#options = options
  }

  async pass(passage: Passage): Promise<Response> {
    const { clientId, request, next, hangUp } = passage
    if (this.#isAway(clientId)) {
      hangUp()
      // For a client without a socket.
      return Response.json({ error: 'mishap' }, { status: 503 })
    }
    const endpoint = new URL(request.url).pathname.split('/').pop()
    if (endpoint === 'reconnect' && this.#take(clientId, 'failResume')) {
      return Response.json({ error: 'mishap' }, { status: 500 })
    }
    if (endpoint === 'reconnect' && this.#take(clientId, 'delayResume')) {
      // The server replays at once; only its answer is late, so the replay arrives while the POST
      // is in flight.
      const [response] = await Promise.all([next(request), wait(this.#options.lateMs)])
      return response
    }
    const response = await next(request)
    if (endpoint !== 'events' || !response.ok || !response.body) return response
    return new Response(this.#tap(response.body, passage), { status: response.status, headers: response.headers })
  }

  /** Returns how many live streams it has hit. */
  cause(mishap: LineMishap, clientId: string): number {
    const client = this.#clientOf(clientId)
    const hit = [...client.streams]
    if (mishap === 'fail-resume') client.failResume = true
    if (mishap === 'late-resume') client.delayResume = true
    // As when a network is lost: it takes a moment until there is another one.
    if (mishap === 'drop' && hit.length > 0) client.awayUntil = Date.now() + this.#options.awayMs
    for (const stream of hit) {
      if (mishap === 'second-welcome') stream.repeatWelcome()
      else if (mishap === 'silence') stream.silence()
      // A resume comes with a fresh stream, so its mishaps begin with the loss of this one.
      else stream.drop()
    }
    this.#forgetIdle(clientId)
    this.#forgetWaiting()
    return hit.length
  }

  /** How many clients are remembered. */
  get size() {
    return this.#clients.size
  }

  /**
   * Every stream of every client, as when the server's process dies, and until there is another
   * one.
   */
  dropAll() {
    this.#downUntil = Date.now() + this.#options.awayMs
    for (const { streams } of this.#clients.values()) for (const stream of [...streams]) stream.drop()
  }

  #tap(body: ReadableStream<Uint8Array>, { clientId, hangUp }: Passage): ReadableStream<Uint8Array> {
    const { streams } = this.#clientOf(clientId)
    const onEnd = () => {
      streams.delete(tap)
      this.#forgetIdle(clientId)
    }
    const tap = createTap(body, onEnd, hangUp)
    streams.add(tap)
    return tap.body
  }

  #clientOf(clientId: string): Client {
    const client = this.#clients.get(clientId) ?? {
      streams: new Set(),
      failResume: false,
      delayResume: false,
      awayUntil: 0,
    }
    this.#clients.set(clientId, client)
    return client
  }

  #isAway(clientId: string): boolean {
    return Date.now() < Math.max(this.#downUntil, this.#clients.get(clientId)?.awayUntil ?? 0)
  }

  #forgetIdle(clientId: string) {
    const client = this.#clients.get(clientId)
    if (!client || client.streams.size > 0 || client.failResume || client.delayResume) return
    if (client.awayUntil <= Date.now()) this.#clients.delete(clientId)
  }

  /** A mishap waits for a resume that may never come. */
  #forgetWaiting() {
    for (const [clientId, { streams }] of this.#clients) {
      if (this.#clients.size <= MAX_WAITING) return
      if (streams.size === 0) this.#clients.delete(clientId)
    }
  }

  /** True once. */
  #take(clientId: string, mishap: 'failResume' | 'delayResume'): boolean {
    const client = this.#clients.get(clientId)
    if (!client?.[mishap]) return false
    client[mishap] = false
    this.#forgetIdle(clientId)
    return true
  }
}

interface Tap {
  readonly body: ReadableStream<Uint8Array>
  repeatWelcome(): void
  silence(): void
  drop(): void
}

/**
 * An SSE body with a valve. It reads on only when its own reader wants more, so the backpressure
 * stays what it was.
 */
function createTap(source: ReadableStream<Uint8Array>, onEnd: () => void, hangUp: () => void): Tap {
  const reader = source.getReader()
  let sink: ReadableStreamDefaultController<Uint8Array>
  let welcome: Uint8Array | undefined
  let isSilent = false

  const end = () => {
    isSilent = true
    onEnd()
    reader.cancel().catch(() => {})
  }
  const body = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        sink = controller
      },
      async pull(controller) {
        const { done, value } = await reader.read()
        // Not even the end gets through; only the client can end this, and cancelling does not wait
        // for `pull`.
        if (isSilent) return new Promise<never>(() => {})
        if (done) {
          controller.close()
          onEnd()
          return
        }
        welcome ??= firstFrame(value)
        controller.enqueue(value)
      },
      cancel: end,
    },
    { highWaterMark: 0 },
  )
  return {
    body,
    // Between two chunks, and each chunk of the chat server is made of whole frames.
    repeatWelcome: () => welcome && !isSilent && sink.enqueue(welcome),
    silence: () => {
      isSilent = true
    },
    drop: () => {
      end()
      hangUp()
    },
  }
}

/** A stream begins with its welcome. */
function firstFrame(chunk: Uint8Array): Uint8Array {
  const [frame] = new TextDecoder().decode(chunk).split('\n\n')
  return new TextEncoder().encode(`${frame}\n\n`)
}

const wait = (ms: number) =>
  new Promise<void>((resolve) => {
    setTimeout(resolve, ms).unref()
  })
