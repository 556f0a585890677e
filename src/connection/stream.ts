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

/** The parts that a stream, and the POSTs about it, are made of. */
export interface StreamParts {
  readonly settings: Settings
  readonly carrier: Carrier
  readonly inbox: Inbox
  readonly outbox: Outbox
  readonly farewell: Farewell
  readonly line: Line
}

type Tell = (event: ConnectionEvent) => void

/**
 * Opens the one live stream: its frames become facts for the machine, and messages for the inbox.
 * `tellReceiptAge` takes how long a server that recognises a repeat remembers it, ms. Returns the
 * function that closes the stream.
 */
export function openStream(parts: StreamParts, tell: Tell, tellReceiptAge: (age: number) => void): () => void {
  const { settings, carrier, inbox, outbox, farewell, line } = parts
  let stopWatchdog = () => {}
  inbox.enterStream()
  const close = carrier.open({
    sign: inbox.sign,
    open: () => tell({ type: 'stream.opened' }),
    error(error) {
      // On a stream that was welcomed, a refusal is how it ended.
      const isRefused = line.context().connectionId === null && REFUSALS.includes(error.code)
      tell({ type: isRefused ? 'stream.refused' : 'stream.failed', error })
    },
    welcome(data) {
      const welcome = parseWelcome(data)
      if (!welcome) {
        const why = `not a welcome of protocol ${PROTOCOL_VERSION}: ${data.slice(0, 200)}`
        return tell({ type: 'stream.failed', error: new ConnectionError('bad-welcome', why) })
      }
      const { connectionId, heartbeat = settings.heartbeat ?? null, features } = welcome
      tellReceiptAge((features.includes('idempotency') && welcome.receiptAge) || Infinity)
      const cursors = inbox.welcome(features.includes('contiguous-seq'))
      stopWatchdog()
      if (heartbeat) {
        const limit = Math.min(2 * heartbeat, MAX_DELAY)
        const why = `nothing came for ${limit} ms: a dead line, or a proxy that buffers`
        stopWatchdog = watchSilence(settings.clock, limit, inbox.signs, () =>
          tell({ type: 'stream.silent', error: new ConnectionError('stream-silent', why) }),
        )
      }
      farewell.address(connectionId, null)
      tell({ type: 'stream.welcomed', connectionId, heartbeat, features, cursors })
    },
    message(data, json) {
      const control = inbox.receive(data, json)
      if (control) obey(parts, control, tell)
    },
  })
  return () => {
    close()
    stopWatchdog()
    inbox.leaveStream()
    outbox.leaveStream()
  }
}

function obey({ inbox, line }: StreamParts, control: Control, tell: Tell) {
  if (control.type === 'probe') tell({ type: 'stream.probed', nonce: control.nonce })
  if (control.type === 'goodbye') {
    const error = new ConnectionError('goodbye', 'the server asked to come back later')
    tell({ type: 'stream.drained', delay: control, error })
  }
  if (control.type === 'reconnected') {
    const { resumeId, sessions } = control
    if (resumeId !== undefined || line.context().resumes === 1) inbox.takeVerdicts(resumeId, sessions)
    const leftOvers = inbox.leftOvers()
    tell({ type: 'stream.replayed', resumeId: resumeId ?? null, leftOvers, isByServer: inbox.hasHole() })
  }
}
