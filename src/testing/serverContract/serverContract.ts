import { SERVER_TOPICS, type ServerCase } from './case'
import { batch } from './cases/batch'
import { events } from './cases/events'
import { goodbye } from './cases/goodbye'
import { idempotency } from './cases/idempotency'
import { input } from './cases/input'
import { liveness } from './cases/liveness'
import { marker } from './cases/marker'
import { order } from './cases/order'
import { origin } from './cases/origin'
import { refusals, streams } from './cases/refusals'
import { replay, resume } from './cases/resume'
import { stop } from './cases/stop'
import { storms } from './cases/storms'
import { stream } from './cases/stream'
import { suspending } from './cases/suspend'
import { watch } from './cases/watch'
import { welcome } from './cases/welcome'

/** The others rest on these: a stream, its welcome, a resume, and a session that is heard. */
export const BASIC_RULES = ['P1', 'P6', 'P57', 'P53']

const ALL: readonly ServerCase[] = [
  ...[stream, welcome, resume, replay, events, marker, watch, liveness, idempotency, stop, batch],
  ...[order, refusals, streams, origin, input, suspending, storms, goodbye],
].flat()

const rankOf = ({ number, topic }: ServerCase) => {
  const first = BASIC_RULES.indexOf(number)
  return first < 0 ? BASIC_RULES.length + SERVER_TOPICS.indexOf(topic) : first
}

/**
 * The rules of docs/protocol.md that a server keeps, as cases: a server in any language is held
 * against them over HTTP, by a driver that has nothing of the client in it. For a runner of your
 * choice: `for (const { title, run } of serverContract) test(title, () => run({ url }))`.
 */
export const serverContract: readonly ServerCase[] = ALL.toSorted(
  (a, b) => rankOf(a) - rankOf(b) || Number(a.number.slice(1)) - Number(b.number.slice(1)),
)
