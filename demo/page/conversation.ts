import type { ConnectionError, Delivery, DeliveryStatus, SessionNews, Verdict } from 'holdline'
import type { AgentEvent, InboundEvent, PageMessage } from '../events'
import { addChapter, lossesOf, tellLoss } from './chapter'
import type { Client } from './client'
import type { Counts } from './lineView'
import { rowsOf } from './rows'
import type { Outgoing, Row } from './rowView'
import { createKeeper, newSessionId, type Saved, startChat } from './storage'
import { countAccepted, countEvent, countReset, totalsOf } from './tally'
import type { Fact } from './tour'
import { apply, EMPTY, lose, startTurn } from './transcript'

interface ConversationOptions {
  readonly connection: Client['connection']
  readonly saved: Saved
  onChange(): void
  tell(fact: Fact): void
  log(kind: string, text: string): void
  notify(text: string): void
  /** The last row tells what was lost. */
  onReset(): void
}

/** What is said on the page: events of the session down, messages of the user up. */
export class Conversation {
  readonly #options: ConversationOptions
  readonly #connection: Client['connection']
  readonly #keeper
  /** Cursor, transcript and counts change together, here and nowhere else. */
  #saved: Saved
  #outgoing: readonly Outgoing[] = []
  readonly #settled: Record<DeliveryStatus | 'received', number> = {
    queued: 0,
    sending: 0,
    accepted: 0,
    rejected: 0,
    unknown: 0,
    received: 0,
  }

  constructor(options: ConversationOptions) {
    const { connection, log } = options
    this.#options = options
    this.#connection = connection
    this.#saved = options.saved
    this.#keeper = createKeeper(
      () => this.#saved,
      (why) => log('error', `this page cannot be saved: ${why}`),
    )
    connection.on('message', (event) => this.#apply(event))
    connection.on('session', (news) => this.#hear(news))
    connection.on('delivery', (news) => this.#follow(news))
    connection.watch(this.sessionId)
    this.#keeper.now()
  }

  get sessionId() {
    return this.#saved.cursor.sessionId
  }

  get rows(): readonly Row[] {
    return rowsOf(this.#saved, this.#outgoing)
  }

  /** What became of the messages of this page. */
  get counts(): Counts {
    const { pending } = this.#connection
    const sending = pending.filter(({ status }) => status === 'sending').length
    return { ...this.#settled, sending, queued: pending.length - sending }
  }

  /** What was counted of prompts and tokens, and what the server has lost. */
  get totals() {
    const { tally, cursor, chapters, transcript } = this.#saved
    return { ...totalsOf(tally, cursor), ...lossesOf(chapters, transcript.turns) }
  }

  // Up: a message is shown at once; the library keeps it until it has a verdict, across reloads
  // too.

  send(prompt: string) {
    const { tally } = this.#saved
    const { page, written: number } = tally
    const delivery = this.#connection.send({ type: 'send', sessionId: this.sessionId, prompt, page, number })
    this.#saved = { ...this.#saved, tally: { ...tally, written: number + 1 } }
    // At once: a page that ends now must not give this number to another one.
    this.#keeper.now()
    this.#show(delivery)
    this.#options.tell({ type: 'sent', id: delivery.id })
  }

  stop() {
    const turn = this.#saved.transcript.turns.find(({ status }) => status === 'answering')
    // A stop that could not leave in time is pointless.
    if (turn)
      this.#connection.send({ type: 'stop', sessionId: this.sessionId, turnId: turn.turnId }, { maxAge: 10_000 })
  }

  cancel(id: string) {
    this.#pendingOf(id)?.cancel()
  }

  dismiss(id: string) {
    this.#outgoing = this.#outgoing.filter((message) => message.id !== id)
    this.#options.onChange()
  }

  /** Returns the session before it. */
  startNew(): string {
    const before = this.sessionId
    this.#saved = startChat(newSessionId())
    this.#outgoing = this.#outgoing.filter(({ status }) => status !== 'accepted')
    this.#keeper.now()
    this.#options.onChange()
    return before
  }

  #pendingOf(id: string) {
    return this.#connection.pending.find((delivery) => delivery.id === id)
  }

  #show({ id, message, status, settled }: Delivery<PageMessage>) {
    if (message.type !== 'send') return
    const { sessionId, prompt, page, number } = message
    this.#outgoing = [...this.#outgoing, { id, sessionId, prompt, page, number, status, reason: '' }]
    void settled.then((verdict) => this.#settle(message, verdict))
    this.#options.onChange()
  }

  #settle(message: PageMessage & { type: 'send' }, verdict: Verdict) {
    if (verdict.status !== 'accepted') return this.#change(verdict.id, { reason: reasonOf(verdict.error) })
    this.#saved = { ...this.#saved, tally: countAccepted(this.#saved.tally, message, verdict.receipt) }
    this.#keeper.soon()
    this.#options.onChange()
  }

  #follow({ id, status, message }: { id: string; status: DeliveryStatus; message: PageMessage }) {
    // Written before a reload.
    const restored = this.#outgoing.some((one) => one.id === id) ? undefined : this.#pendingOf(id)
    if (restored) this.#show(restored)
    if (status === 'accepted' || status === 'rejected' || status === 'unknown') {
      this.#settled[status] += 1
      if (message.type !== 'send') this.#options.log('delivery', `${message.type} ${status}`)
    }
    this.#change(id, { status })
    if (status !== 'accepted') return
    this.#dismissArrived(id)
    this.#options.tell({ type: 'accepted', id })
  }

  #change(id: string, news: Partial<Outgoing>) {
    this.#outgoing = this.#outgoing.map((message) => (message.id === id ? { ...message, ...news } : message))
    this.#options.onChange()
  }

  /**
   * Accepted, and its echo is in the transcript, whichever came first: the turn is all that there
   * is to show.
   */
  #dismissArrived(id: string) {
    const message = this.#outgoing.find((one) => one.id === id)
    if (message?.status !== 'accepted') return
    const isOfOtherChat = message.sessionId !== this.sessionId
    if (isOfOtherChat || this.#saved.transcript.turns.some(({ turnId }) => turnId === id)) this.dismiss(id)
  }

  // Down: each event moves the transcript, the counts and the cursor by one step.

  #apply(event: InboundEvent) {
    if (event.sessionId !== this.sessionId) return
    const { sessionId, seq, epoch } = event
    const { transcript, tally } = this.#saved
    this.#saved = {
      ...this.#saved,
      cursor: { sessionId, lastSeq: seq, epoch },
      transcript: apply(transcript, event),
      tally: countEvent(tally, this.#numbered(event)),
    }
    this.#settled.received += 1
    if (event.type === 'prompt') this.#dismissArrived(event.turnId)
    if (event.type === 'token') this.#options.tell({ type: 'token', turnId: event.turnId })
    this.#keeper.soon()
    this.#options.onChange()
  }

  /**
   * A server that does not count gives no numbers back. The turn of a prompt tells which one it
   * is.
   */
  #numbered(event: InboundEvent): AgentEvent {
    if (event.type !== 'prompt' || event.page !== undefined) return event
    const own = this.#outgoing.find(({ id }) => id === event.turnId)
    if (!own) return event
    const { turnId, text } = event
    const { page, number } = own
    return { type: 'prompt', turnId, text, page, number, received: this.#saved.tally.received + 1 }
  }

  #hear({ sessionId, status, from, to }: SessionNews) {
    const { log, notify } = this.#options
    log('session', `${status}, ${from} → ${to}`)
    if (sessionId !== this.sessionId) return
    if (status === 'reset') this.#startAnew(from, to)
    else if (status !== 'resumed') notify(`This conversation is ${status}. Start a new chat.`)
  }

  /**
   * The server has lost what it knew. This page keeps what it had received, and says of each
   * message what became of it; what has not been delivered yet still will be.
   */
  #startAnew(from: number, to: number) {
    const { sessionId } = this
    const { cursor: before, transcript, chapters, tally } = this.#saved
    // It may still have some of it, or have begun anew without this page.
    if (from < to) this.#connection.watch(sessionId, { after: from })
    const cursor = this.#connection.cursor(sessionId) ?? { sessionId, lastSeq: to }
    const accepted = this.#outgoing.filter((message) => message.status === 'accepted')
    const unseen = accepted.filter((message) => message.sessionId === sessionId)
    const turns = [...lose(transcript), ...unseen.map(({ id, prompt }) => startTurn(id, prompt, 'lost'))]
    this.#outgoing = this.#outgoing.filter((message) => !accepted.includes(message))
    const queued = this.#outgoing.filter(({ status }) => status === 'queued' || status === 'sending').length
    const why = tellLoss({ turns, isRestart: cursor.epoch !== before.epoch, queued })
    this.#saved = {
      cursor,
      transcript: EMPTY,
      chapters: turns.length > 0 ? addChapter(chapters, { turns, why }) : chapters,
      tally: countReset(tally),
    }
    this.#options.onReset()
    this.#keeper.now()
    this.#options.onChange()
  }
}

const reasonOf = ({ code, status }: ConnectionError) => (status === undefined ? code : `${code} ${status}`)
