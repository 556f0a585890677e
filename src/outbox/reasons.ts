import { ConnectionError, type SendError } from '../errors'
import { isText } from '../protocol'
import type { Ending } from './judge'
import type { Message } from './message'

/** Why the outbox gives a message up. */
export type Reason =
  | 'cancelled'
  | 'disposed'
  | 'expired'
  | 'exhausted'
  | 'invalid-message'
  | 'outbox-full'
  | 'unknown-type'

/** By the app's protocol. */
export const refused = (error: ConnectionError): Ending => ({ status: 'rejected', error: error as SendError })

/** The error of the verdict. */
export function toError(code: Reason, { attempts, lastError, type }: Message): SendError {
  const why: Readonly<Record<Reason, string>> = {
    cancelled: 'by cancel(), clearOutbox(), dispose() or a stop',
    disposed: 'sent after dispose()',
    expired: attempts ? 'posted before, older than receiptAge' : 'older than maxAge',
    exhausted: `${attempts} attempts failed, the last: ${lastError?.message}`,
    'invalid-message': 'the message is no object, or no JSON',
    'outbox-full': 'over outbox.maxMessages or outbox.maxBytes',
    'unknown-type': `no endpoint for type ${isText(type) ? type : typeof type}`,
  }
  return new ConnectionError(code, why[code]) as SendError
}
