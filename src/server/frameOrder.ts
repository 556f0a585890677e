import { type JsonObject, parseResults } from '../protocol'
import { isToBeRepeated } from '../status'
import type { FrameAnswer } from './webSocketFrames'

export interface Frame {
  readonly id: string
  readonly endpoint: string
  readonly body: unknown
}

/** One after the other, and commands wait for them: they say what the stream carries. */
const ATTACHING = ['reconnect', 'watch', 'unwatch']
/** No commands either, and in nobody's way. */
const AT_ONCE = ['probe', 'suspend']
const TOO_EARLY: FrameAnswer = { status: 425, error: 'too-early' }
/** What a server itself acts on has no use for a key. */
export const isCommand = (endpoint: string) => ![...ATTACHING, ...AT_ONCE, 'batch'].includes(endpoint)
/** More than a client has in flight. One that makes it more has no order to lose. */
const MAX_REFUSED = 256

/**
 * The order of one socket's frames. Commands are run one after the other. What follows one that is to be repeated must not overtake
 * the repeat; the client sent it before it knew, so it is to be repeated too. As in a batch, but over many frames.
 */
export function createFrameOrder() {
  let attaching: Promise<unknown> = Promise.resolve()
  let commands: Promise<unknown> = Promise.resolve()
  /** The messages that a repeat may begin with. Until one does, whatever comes was sent too early. */
  const refused = new Set<unknown>()

  return (frame: Frame, perform: () => Promise<FrameAnswer>): Promise<FrameAnswer> => {
    const { id, endpoint } = frame
    if (AT_ONCE.includes(endpoint)) return perform()
    const first = firstOf(frame)
    const command = async () => {
      if (refused.has(first) || refused.size >= MAX_REFUSED) refused.clear()
      const answer = refused.size ? TOO_EARLY : await perform()
      const last = endpoint !== 'batch' ? { id, status: answer.status } : lastOf(answer, first)
      if (last?.id !== undefined && isToBeRepeated(last.status)) refused.add(last.id)
      return answer
    }
    const isAttaching = ATTACHING.includes(endpoint)
    const answer = isAttaching ? attaching.then(perform) : Promise.all([commands, attaching]).then(command)
    if (isAttaching) attaching = answer
    else commands = answer
    return answer
  }
}

/** What a repeat begins with. One of a batch has another id. */
const firstOf = ({ id, endpoint, body }: Frame): unknown => {
  const { messages }: JsonObject = Object(body)
  return endpoint === 'batch' ? Object(Object(messages)[0]).id : id
}

/** How far a batch got. Turned down as a whole, it is repeated, message by message. */
const lastOf = ({ status, receipt }: FrameAnswer, first: unknown) =>
  status === 200 ? parseResults(receipt).at(-1) : { id: first, status: 500 }
