import { watchSilence } from '../adapters/silence'
import type { Carrier } from '../adapters/transport'
import { ConnectionError } from '../errors'
import type { Inbox } from '../inbox/inbox'
import type { ConnectionEvent } from '../machine/types'
import type { Outbox } from '../outbox/outbox'
import { type Control, PROTOCOL_VERSION, parseWelcome } from '../protocol'
import { REFUSALS } from '../protocol/status'
import { MAX_DELAY } from './checks'
import type { Farewell } from './farewell'
import type { Line } from './line'
import type { Settings } from './options'

/** The parts that a stream, and what is done on it, is made of. */
export interface StreamParts {
  readonly settings: Settings
  readonly carrier: Carrier
  readonly inbox: Inbox
  readonly outbox: Outbox
  readonly farewell: Farewell
  readonly line: Line
}

/** One live stream: turns its frames into facts for the machine and messages for the inbox, and watches it for silence. */
export class Stream {
  /** How long a server that recognises a repeat remembers what it took, ms. */
  receiptAge = Infinity
  readonly #parts: StreamParts
  readonly #tell: (event: ConnectionEvent) => void
  readonly #close: () => void
  #stopWatchdog: (() => void) | undefined

  constructor(parts: StreamParts, tell: (event: ConnectionEvent) => void) {
    this.#parts = parts
    this.#tell = tell
    const { carrier, inbox } = parts
    inbox.enterStream()
    this.#close = carrier.open({
      sign: inbox.sign,
      open: () => tell({ type: 'stream.opened' }),
      error: (error) => this.#fail(error),
      welcome: (data) => this.#welcome(data),
      message: (data, json) => {
        const control = inbox.receive(data, json)
        if (control) this.#obey(control)
      },
    })
  }

  close() {
    const { inbox, outbox } = this.#parts
    this.#close()
    this.#stopWatchdog?.()
    inbox.leaveStream()
    outbox.leaveStream()
  }

  #fail(error: ConnectionError) {
    // Once it was welcomed, a refusal is how it ended.
    const isRefused = this.#parts.line.context().connectionId === null && REFUSALS.includes(error.code)
    this.#tell({ type: isRefused ? 'stream.refused' : 'stream.failed', error })
  }

  #welcome(data: string) {
    const { settings, inbox, farewell } = this.#parts
    const welcome = parseWelcome(data)
    if (!welcome) {
      const why = `not a welcome of protocol ${PROTOCOL_VERSION}: ${data.slice(0, 200)}`
      return this.#tell({ type: 'stream.failed', error: new ConnectionError('bad-welcome', why) })
    }
    const { connectionId, heartbeat = settings.heartbeat ?? null, features } = welcome
    this.receiptAge = (features.includes('idempotency') && welcome.receiptAge) || Infinity
    const cursors = inbox.welcome(features.includes('contiguous-seq'))
    this.#watch(heartbeat)
    Object.assign(farewell, { connectionId, resumeId: null })
    this.#tell({ type: 'stream.welcomed', connectionId, heartbeat, features, cursors })
  }

  #watch(heartbeat: number | null) {
    const { settings, inbox } = this.#parts
    this.#stopWatchdog?.()
    if (!heartbeat) return
    const limit = Math.min(2 * heartbeat, MAX_DELAY)
    this.#stopWatchdog = watchSilence(settings.clock, limit, inbox.signs, () => {
      const why = `nothing came for ${limit} ms: a dead line, or a proxy that buffers`
      this.#tell({ type: 'stream.silent', error: new ConnectionError('stream-silent', why) })
    })
  }

  #obey(control: Control) {
    const { inbox, line } = this.#parts
    if (control.type === 'probe') this.#tell({ type: 'stream.probed', nonce: control.nonce })
    if (control.type === 'goodbye') {
      const error = new ConnectionError('goodbye', 'the server asked to come back later')
      this.#tell({ type: 'stream.drained', delay: control, error })
    }
    if (control.type === 'reconnected') {
      const { resumeId = null, sessions } = control
      if (resumeId !== null || line.context().resumes === 1) inbox.judge(resumeId ?? undefined, sessions)
      this.#tell({ type: 'stream.replayed', resumeId, leftOvers: inbox.leftOvers(), isByServer: inbox.hasHole() })
    }
  }
}
