import type { SessionVerdict } from '../protocol'
import { Refusal } from './http'
import type { Clock } from './options'
import type { LogEntry, SessionLog } from './sessionLog'

/** About how much is written per read of the client: enough to be quick, little enough to be memory for nobody. */
const CHUNK_CHARS = 64 * 1024
const CHUNK_EVENTS = 64
/** Events of one session before the next session has its turn. */
const TURN_EVENTS = 16
/** Unwritten control frames and markers, each. Only a client that posts without reading has more. */
const MAX_CONTROL = 64

export interface ChatStreamOptions {
  readonly log: SessionLog
  readonly clock: Clock
  /** ms, as in `ChatServerOptions`. */
  readonly heartbeat: number
  readonly stall: number
  /** How long this stream lives, ms. */
  readonly age: number
  readonly maxSessions: number
  readonly welcome: object
  /** Called once, however the stream ended. */
  onEnd(): void
  /** Called before, if the reason was a client that had stopped reading. */
  onEvict(): void
  onError(error: unknown): void
}

/** One live SSE response. After its end every method but `say`, `attach` and `confirm` (which refuse) does nothing. */
export interface ChatStream {
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>
  isAttached(sessionId: string): boolean
  /**
   * Writes what is in the log after `after`, and whatever follows. A session that is attached starts over there.
   * False if the session is one too many.
   */
  attach(sessionId: string, after: number, epoch: string): Promise<boolean>
  detach(sessionId: string): void
  /** Queues a control frame; it is written before any event. */
  say(frame: object): void
  /** Queues a replay marker; it is written as soon as each of its sessions has been written up to its `to`. */
  confirm(marker: { readonly resumeId?: string; readonly sessions: readonly SessionVerdict[] }): void
  end(goodbye?: { readonly retryAfter?: number; readonly spread?: number }): void
}

interface Attached {
  readonly epoch: string
  /** The `seq` that was written last. */
  position: number
  unsubscribe(): void
}

interface Marker {
  readonly sessions: readonly SessionVerdict[]
  readonly frame: string
}

/**
 * The response body. It is pulled: each read of the client takes the next chunk from the log, by cursor. There is no queue
 * of events and so nothing that grows with a slow client, and no difference between replay and live.
 */
export function createChatStream(options: ChatStreamOptions): ChatStream {
  const { log, clock, heartbeat, stall } = options
  const encoder = new TextEncoder()
  const attached = new Map<string, Attached>()
  /** Attached sessions that may have unwritten events. The first one is next: a Set keeps its order, so this is round-robin. */
  const unread = new Set<string>()
  const markers: Marker[] = []
  let control = [`event: welcome\n${toFrame(options.welcome)}`]
  let isReading = false
  let hasEnded = false
  let lastWrite = clock.now()
  let wake = () => {}
  let sink: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>

  let stallTimer: unknown
  let pingTimer = clock.setTimeout(pingIfQuiet, heartbeat)
  const ageTimer = clock.setTimeout(() => end(), options.age)

  const body = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      start: (controller) => {
        sink = controller
      },
      pull: writeNext,
      cancel: release,
    },
    // No read-ahead: `pull` then means that the client is waiting, and a client that is not waiting holds no memory.
    { highWaterMark: 0 },
  )
  watchReader()

  async function writeNext() {
    isReading = true
    clock.clearTimeout(stallTimer)
    stallTimer = undefined
    try {
      let chunk = await nextChunk()
      while (chunk === '' && !hasEnded) {
        if (!hasWork()) await new Promise<void>((resolve) => (wake = resolve))
        chunk = await nextChunk()
      }
      if (!hasEnded) sink.enqueue(encoder.encode(chunk))
    } catch (error) {
      options.onError(error)
      end()
    }
    lastWrite = clock.now()
    isReading = false
    watchReader()
  }

  async function nextChunk(): Promise<string> {
    let chunk = control.join('')
    control = []
    for (let events = 0; events < CHUNK_EVENTS && chunk.length < CHUNK_CHARS; ) {
      const [sessionId] = unread
      if (sessionId === undefined) break
      unread.delete(sessionId)
      const session = attached.get(sessionId)
      if (!session) continue
      const reading = log.read(sessionId, session.position, TURN_EVENTS)
      // Not `await` in any case: a log in memory is read without giving way.
      const entries = reading instanceof Promise ? await reading : reading
      const last = entries.at(-1)
      const { epoch } = last ?? (await log.head(sessionId))
      if (attached.get(sessionId) !== session) continue
      if (epoch !== session.epoch) {
        // The session's numbering started again. The next resume of the client will be told so, with `reset`.
        end()
        return ''
      }
      for (const entry of entries) {
        chunk += eventFrame(entry)
        session.position = entry.seq
        events += 1
        if (chunk.length >= CHUNK_CHARS) break
      }
      if (entries.length === TURN_EVENTS || (last && session.position < last.seq)) unread.add(sessionId)
    }
    while (markers[0] && isReplayed(markers[0])) chunk += markers.shift()?.frame
    return chunk
  }

  /** A session without unread events was written up to its `to`, or as far as the log still reaches. */
  function isReplayed({ sessions }: Marker): boolean {
    return sessions.every(({ sessionId, to }) => {
      const session = attached.get(sessionId)
      return !session || session.position >= to || !unread.has(sessionId)
    })
  }

  function hasWork(): boolean {
    return control.length > 0 || unread.size > 0 || (markers[0] !== undefined && isReplayed(markers[0]))
  }

  function announceWork() {
    wake()
    watchReader()
  }

  /** A client that keeps up always has a read waiting. Work without one means that it has stopped reading. */
  function watchReader() {
    if (isReading || hasEnded || stallTimer !== undefined || !hasWork()) return
    stallTimer = clock.setTimeout(() => {
      stallTimer = undefined
      if (hasWork()) evict()
    }, stall)
  }

  /** An error, not an end: hosts wait for an end to be sent, and nobody is reading. */
  function evict() {
    options.onEvict()
    sink.error(new Error('the client stopped reading'))
    release()
  }

  function pingIfQuiet() {
    // Not below 0: the clock may have been set back.
    const quiet = Math.max(0, clock.now() - lastWrite)
    const isDue = quiet >= heartbeat
    pingTimer = clock.setTimeout(pingIfQuiet, isDue ? heartbeat : heartbeat - quiet)
    if (!isDue || control.length > 0) return
    control.push(toFrame({ type: 'ping' }))
    announceWork()
  }

  function detach(sessionId: string) {
    attached.get(sessionId)?.unsubscribe()
    attached.delete(sessionId)
    unread.delete(sessionId)
    // A marker may have waited for this session alone.
    announceWork()
  }

  function end(goodbye: { readonly retryAfter?: number; readonly spread?: number } = {}) {
    if (hasEnded) return
    sink.enqueue(encoder.encode(toFrame({ type: 'goodbye', ...goodbye })))
    sink.close()
    release()
  }

  function release() {
    if (hasEnded) return
    hasEnded = true
    for (const timer of [stallTimer, pingTimer, ageTimer]) clock.clearTimeout(timer)
    for (const session of attached.values()) session.unsubscribe()
    attached.clear()
    unread.clear()
    wake()
    options.onEnd()
  }

  function refuseIfEnded() {
    if (hasEnded) throw new Refusal(404, 'unknown-stream')
  }

  function refuseIf(isFull: boolean) {
    refuseIfEnded()
    if (isFull) throw new Refusal(429, 'too-many', { 'Retry-After': '5' })
  }

  return {
    body,
    isAttached: (sessionId) => attached.has(sessionId),

    async attach(sessionId, after, epoch) {
      if (attached.has(sessionId)) detach(sessionId)
      refuseIfEnded()
      if (attached.size >= options.maxSessions) return false
      const session: Attached = { epoch, position: after, unsubscribe: () => {} }
      const readOn = () => {
        if (attached.get(sessionId) !== session) return
        unread.add(sessionId)
        announceWork()
      }
      /** Attached without a subscription it would stay silent for ever; detached it is asked for again. */
      const giveUp = (error: unknown): never => {
        if (attached.get(sessionId) === session) detach(sessionId)
        throw error
      }
      attached.set(sessionId, session)
      readOn()
      const subscribing = log.subscribe(sessionId, readOn)
      const unsubscribe = subscribing instanceof Promise ? await subscribing.catch(giveUp) : subscribing
      // Detached, attached anew or ended while the log was subscribing.
      if (attached.get(sessionId) !== session) unsubscribe()
      else session.unsubscribe = unsubscribe
      // Again: what came before the subscription took hold is read now, what comes later is announced.
      readOn()
      return true
    },

    detach,

    say(frame) {
      refuseIf(control.length >= MAX_CONTROL)
      control.push(toFrame(frame))
      announceWork()
    },

    confirm({ sessions, ...rest }) {
      refuseIf(markers.length >= MAX_CONTROL)
      markers.push({ sessions, frame: toFrame({ type: 'reconnected', ...rest, sessions }) })
      announceWork()
    },

    end,
  }
}

const toFrame = (message: object) => `data: ${JSON.stringify(message)}\n\n`

/** Each event is serialised once, not once per stream, as long as the log hands out the same object. */
const eventFrames = new WeakMap<LogEntry, string>()

function eventFrame(entry: LogEntry): string {
  const known = eventFrames.get(entry)
  if (known !== undefined) return known
  const { sessionId, seq, epoch, event } = entry
  // The envelope comes last, so that no payload can forge it. `prevSeq` is part of it, and this server writes none.
  const frame = toFrame({ ...event, prevSeq: undefined, sessionId, seq, epoch })
  eventFrames.set(entry, frame)
  return frame
}
