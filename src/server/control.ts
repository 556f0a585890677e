import { type Cursor, isText, type JsonObject } from '../protocol'
import type { ControlEndpoint } from './endpoints'
import { badRequest, Refusal } from './errors'
import type { Pacer } from './limits/pacer'
import { LOOKUP_WEIGHT } from './limits/weights'
import type { ResolvedOptions } from './options'
import { isSessionId, parseCursor, parseCursors, SESSION_ID_RULE } from './request/cursors'
import type { Principal } from './request/principal'
import type { Resumer } from './resume'
import type { Authority } from './stream/authority'
import { type StreamRef, textsOf } from './stream/streams'

export interface ControlDeskOptions<P extends Principal>
  extends Pick<ResolvedOptions<P>, 'typeEndpoints' | 'limits' | 'onSuspend'> {
  readonly authority: Authority<P>
  readonly pacer: Pacer
  readonly resumer: Resumer<P>
  /** @throws Refusal if there is no such stream of theirs, or the server is closed */
  streamOf(principal: P, connectionId: unknown): StreamRef
}

/** A message that the server acts on itself. */
export interface ControlMessage<P> {
  readonly principal: P
  readonly connectionId: unknown
  readonly message: JsonObject
}

interface Call<P> {
  readonly principal: P
  readonly message: JsonObject
  readonly stream: StreamRef
}

/** Characters of a `resumeId` or a `nonce`. */
const MAX_TEXT = 128
const TEXT_RULE = `must be a text of at most ${MAX_TEXT} characters`
const isShortText = (value: unknown): value is string => isText(value) && value.length <= MAX_TEXT

/** Acts on the messages that are about a stream, not for the app: one method for each endpoint. */
export class ControlDesk<P extends Principal> {
  readonly #options: ControlDeskOptions<P>

  constructor(options: ControlDeskOptions<P>) {
    this.#options = options
  }

  /** Resolves with the answer's fields besides `ok`. Rejects with `Refusal`. */
  take(
    endpoint: ControlEndpoint,
    { principal, connectionId, message }: ControlMessage<P>,
  ): Promise<object | undefined> {
    const { typeEndpoints, streamOf } = this.#options
    if (typeEndpoints.get(message.type) !== endpoint) throw badRequest('type must be the one of this endpoint')
    // [spec] sendBeacon cannot set headers.
    const id = connectionId ?? (endpoint === 'suspend' && message.connectionId)
    return this[endpoint]({ principal, message, stream: streamOf(principal, id) })
  }

  protected async reconnect({ principal, message, stream }: Call<P>): Promise<object> {
    const { resumeId } = message
    const cursors = this.#cursorsOf(message)
    if (resumeId !== undefined && !isShortText(resumeId)) throw badRequest(`resumeId ${TEXT_RULE}`)
    const marker = resumeId === undefined ? {} : { resumeId }
    return { sessions: await this.#options.resumer.resume(principal, stream, cursors, marker) }
  }

  protected async watch({ principal, message, stream }: Call<P>): Promise<object> {
    const cursor = parseCursor(message)
    if (!cursor)
      throw badRequest(
        'sessionId must be a text, lastSeq an integer from 0 to 2^53 - 1, and epoch a text if there is one',
      )
    const sessions = await this.#options.resumer.resume(principal, stream, [cursor])
    const [verdict] = sessions
    if (verdict?.status === 'forbidden') throw new Refusal(403, verdict.error ?? 'forbidden')
    return { sessions }
  }

  protected async unwatch({ message: { sessionId }, stream }: Call<P>): Promise<undefined> {
    if (!isSessionId(sessionId)) throw badRequest(`sessionId ${SESSION_ID_RULE}`)
    await stream.call({ type: 'detach', sessionId })
  }

  protected async probe({ message: { nonce }, stream }: Call<P>): Promise<undefined> {
    if (!isShortText(nonce)) throw badRequest(`nonce ${TEXT_RULE}`)
    await stream.call({ type: 'echo', nonce })
  }

  protected async suspend({ principal, message, stream }: Call<P>): Promise<undefined> {
    const { pacer, authority, onSuspend } = this.#options
    const { resumeId } = message
    const cursors = this.#cursorsOf(message)
    if (resumeId != null && !isShortText(resumeId)) throw badRequest(`resumeId ${TEXT_RULE}`)
    const sessionIds = cursors.map(({ sessionId }) => sessionId)
    await pacer.admit(principal.id, LOOKUP_WEIGHT * sessionIds.length)
    const answer = await stream.call({ type: 'farewell', sessionIds, resumeId })
    // The page has come back since.
    if (answer === null) return undefined
    const attached = textsOf(answer)
    const refused = await authority.recheck(principal, stream, attached)
    const sessions = cursors.filter(({ sessionId }) => attached.includes(sessionId) && !refused.includes(sessionId))
    await onSuspend({ principal, connectionId: stream.id, sessions })
    return undefined
  }

  #cursorsOf({ sessions }: JsonObject): readonly Cursor[] {
    const { sessionsPerResume: max } = this.#options.limits
    const cursors = parseCursors(sessions, max)
    if (!cursors) throw badRequest(`sessions must be at most ${max} cursors, each of another session`)
    return cursors
  }
}
