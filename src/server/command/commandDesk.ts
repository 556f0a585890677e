import { type Answer, refusalOf } from '../answer'
import type { Timers } from '../clock'
import type { Contract } from '../contract'
import { digest } from '../digest'
import { Refusal, tooMany, unavailable } from '../errors'
import type { TokenBuckets } from '../limits/tokenBuckets'
import { LANE_WEIGHT, parsedWeight, textWeight } from '../limits/weights'
import type { MaybePromise, SessionLog } from '../log/sessionLog'
import type { CommandCall } from '../options'
import type { Publisher } from '../publish'
import { parseMessage } from '../request/body'
import type { Principal } from '../request/principal'
import type { Authority } from '../stream/authority'
import { attachedOf, type StreamRef } from '../stream/streams'
import { byLane, runBatch, type Work } from './batch'
import type { Commands } from './commands'
import type { Lanes } from './lanes'
import type { Place } from './placeQueue'
import { type BatchMessage, cancelsOf, type Posted } from './posted'
import type { Presence } from './presence'

export interface CommandDeskOptions<P extends Principal> {
  readonly log: SessionLog
  readonly lanes: Lanes
  readonly commands: Commands
  readonly authority: Authority<P>
  /** Sessions that a principal's commands may begin. */
  readonly newSessions: TokenBuckets
  readonly clock: Timers
  readonly contract: Contract
  /** Types that only ask. */
  readonly queries: ReadonlySet<string>
  authorize(principal: P, sessionId: string, action: 'read' | 'write'): MaybePromise<boolean | 'gone'>
  onCommand(call: CommandCall<P>): unknown
  /** @throws Refusal if there is no such stream of theirs, or the server is closed */
  streamOf(principal: P, connectionId: unknown): StreamRef
  /** @throws Refusal 503 */
  refuseIfClosed(): void
  readonly publishOnce: Publisher['publishOnce']
  onError(error: unknown): void
}

/** The request that commands come with. */
export interface Sender<P> {
  readonly principal: P
  readonly connectionId: unknown
  readonly presence: Presence
}

/** A sender, the stream that it names, and its place in the order of each lane. */
interface BatchSender<P> extends Sender<P> {
  readonly stream: StreamRef
  readonly turns: ReadonlyMap<string | undefined, Place>
}

/** A sender, and its place in the order of a lane. */
interface InTurn<P> extends Sender<P> {
  readonly turn: Place
}

/** Takes commands from their arrival to their answer: alone, or in a batch. */
export class CommandDesk<P extends Principal> {
  readonly #options: CommandDeskOptions<P>

  constructor(options: CommandDeskOptions<P>) {
    this.#options = options
  }

  /**
   * They have arrived when their body is here: one that stalls on the way, perhaps the dead twin of
   * a repeat, holds up no other.
   *
   * @throws Refusal if there is no such stream
   */
  take(sender: Sender<P>, posted: Posted | readonly BatchMessage[]): Work {
    const { principal, connectionId } = sender
    const stream = this.#options.streamOf(principal, connectionId)
    const owner = { principalId: principal.id, connectionId: stream.id }
    if ('json' in posted) {
      const turn = this.#options.lanes.join(owner, posted.lane)
      const answer = this.#perform({ ...sender, turn }, posted, true).finally(turn.leave)
      return { answer, over: answer }
    }
    const names = [...byLane(posted).keys()]
    const turns = new Map(names.map((lane) => [lane, this.#options.lanes.join(owner, lane)]))
    return this.#takeBatch({ ...sender, stream, turns }, posted)
  }

  /** Each message goes the way of one that is posted alone, with its id as the key. */
  #takeBatch({ stream, turns, ...sender }: BatchSender<P>, messages: readonly BatchMessage[]): Work {
    const { clock } = this.#options
    const leave = (lane: string | undefined) => turns.get(lane)?.leave()
    const beginning = attachedOf(stream, []).then(
      () =>
        runBatch(messages, {
          clock,
          leave,
          perform: ({ lane, posted }, isLast) =>
            'status' in posted
              ? Promise.resolve(posted)
              : this.#perform({ ...sender, turn: turns.get(lane) as Place }, posted, isLast),
        }),
      (error): Work => {
        for (const lane of turns.keys()) leave(lane)
        const answer = Promise.resolve(this.#answerTo(error))
        return { answer, over: answer }
      },
    )
    return { answer: beginning.then(({ answer }) => answer), over: beginning.then(({ over }) => over) }
  }

  #answerTo(error: unknown): Answer {
    return refusalOf(error, this.#options.onError)
  }

  /** Never rejects. */
  #perform(sender: InTurn<P>, posted: Posted, isLast: boolean): Promise<Answer> {
    // One at a time in a lane. Without lanes the next one is begun as soon as the last of a POST
    // has: their sessions keep them apart.
    const isKept = posted.lane !== undefined || !isLast
    const turn = isKept ? { ...sender.turn, leave() {} } : sender.turn
    return this.#run({ ...sender, turn }, posted).catch((error) => this.#answerTo(error))
  }

  async #run({ principal, connectionId, presence, turn }: InTurn<P>, posted: Posted): Promise<Answer> {
    const { streamOf, refuseIfClosed, commands, queries, contract, onCommand, publishOnce, onError } = this.#options
    const { endpoint, type, sessionId, key, lane, json } = posted
    const stream = streamOf(principal, connectionId)
    const isQuery = queries.has(type)
    const refusal = await (isQuery ? this.#mayAsk(principal, sessionId) : this.#prepare(principal, stream, sessionId))
    const fingerprint = key === undefined ? '' : await digest(`${endpoint}\n${json}`)
    const identityOf = (id: string) => JSON.stringify([principal.id, id])
    const identity = key === undefined || isQuery ? undefined : identityOf(key)
    await presence.waitFor(turn.reached)
    refuseIfClosed()
    const answering = commands.execute(
      {
        chain: isQuery ? crypto.randomUUID() : (sessionId ?? JSON.stringify([stream.id, lane])),
        principalId: principal.id,
        identity,
        fingerprint,
        refusal,
        cancels: cancelsOf(posted).map(identityOf),
        weight: parsedWeight(json) + (lane === undefined ? 0 : LANE_WEIGHT + textWeight(lane)),
        run: async () => {
          const message = await contract.command(parseMessage(json))
          const publish = publishOnce(identity, fingerprint)
          const ids = { connectionId: stream.id, idempotencyKey: key ?? crypto.randomUUID() }
          const receipt = await onCommand({ principal, type, sessionId, message, ...ids, publish })
          return contract.isReceipt(type, receipt, onError) ? receipt : null
        },
      },
      presence,
    )
    turn.leave()
    return answering
  }

  /** Why a query must not be answered. */
  async #mayAsk(principal: P, sessionId: string | undefined): Promise<Answer | undefined> {
    try {
      const isAllowed =
        sessionId === undefined || (await this.#options.authorize(principal, sessionId, 'read')) === true
      return isAllowed ? undefined : this.#answerTo(new Refusal(403, 'forbidden'))
    } catch (error) {
      return this.#answerTo(error)
    }
  }

  /**
   * Attaches before a command runs, so that its sender hears the events that come of it; and finds
   * out whether the stream still is there, because on another one they would not. Returns why the
   * command must not run.
   */
  async #prepare(principal: P, stream: StreamRef, sessionId: string | undefined): Promise<Answer | undefined> {
    const { log, authority, authorize, newSessions } = this.#options
    const mark = authority.mark()
    const sessionIds = sessionId === undefined ? [] : [sessionId]
    const { attached, begun } = await attachedOf(stream, sessionIds)
    if (sessionId === undefined) return undefined
    try {
      if ((await authorize(principal, sessionId, 'write')) !== true) {
        // A principal that may not write may still read.
        await authority.recheck(principal, stream, attached)
        throw new Refusal(403, 'forbidden')
      }
      if (begun.includes(sessionId)) return undefined
      const { head, epoch, isUnreadable } = await log.head(sessionId)
      const wait = head || isUnreadable ? 0 : newSessions.take(principal.id)
      if (wait) throw tooMany(wait)
      if (!attached.includes(sessionId)) {
        if ((await authorize(principal, sessionId, 'read')) !== true) return undefined
        if (isUnreadable) throw unavailable()
      }
      await stream.call({ type: 'join', sessionId, after: head, epoch })
      await authority.refuseIfRevoked(mark, principal, stream, sessionIds)
      return undefined
    } catch (error) {
      return this.#answerTo(error)
    }
  }
}
