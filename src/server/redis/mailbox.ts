import { isText, type JsonObject, parseJson } from '../../protocol'
import type { Answer } from '../answer'
import type { Timers } from '../clock'
import type { ClusterHost } from '../log/cluster'
import type { PartOf } from './part'

export interface MailboxOptions {
  /** A message is where its reader is. */
  readonly partOf: PartOf
  readonly clock: Timers
  readonly host: Pick<ClusterHost, 'serve'>
  /** The name of this process. */
  readonly node: string
  /** An id that no other process makes. */
  nextId(): string
}

/**
 * How long another process has for an answer, and how often it is looked whether it still is there,
 * ms.
 */
const ANSWER_TIMEOUT = 5_000
const LOOK = 250
/** Far more than are asked in the time in which one may come again. */
const MAX_HEARD = 10_000
/** How long a message to another process can be read, ms. */
const MAIL_AGE = 10_000
const MAIL_ID = /^[\w-]{1,64}\.\d{1,15}$/

/** A question of this process that is not answered yet. */
interface Question {
  readonly answer: (answer: Answer) => void
  /** Of the next look. */
  timer?: unknown
}

/** The questions that processes ask each other, and their answers. */
export class Mailbox {
  readonly #options: MailboxOptions
  /** Messages; one whose answer from Redis was lost is asked for again after the reconnect. */
  readonly #heard = new Set<string>()
  readonly #asked = new Map<string, Question>()

  constructor(options: MailboxOptions) {
    this.#options = options
  }

  /**
   * The answer of `to`; `'gone'`, soon, if there is no such process; `'silent'` if nothing came
   * within 5 s.
   */
  async ask(to: string, request: object): Promise<Answer | 'gone' | 'silent'> {
    const { partOf, clock, nextId } = this.#options
    const { health } = partOf(to)
    const id = nextId()
    try {
      const answered = new Promise<Answer>((answer) => this.#asked.set(id, { answer }))
      return await health.orUnavailable(Promise.race([answered, this.#despair(to, id, request)]))
    } finally {
      clock.clearTimeout(this.#asked.get(id)?.timer)
      this.#asked.delete(id)
    }
  }

  /** Takes the id of a message that was published to this process. */
  receive(id: string): void {
    const { partOf, node } = this.#options
    if (MAIL_ID.test(id))
      void partOf(node)
        .health.orUnavailable(this.#open(id))
        .catch(() => {})
  }

  /** Asks, and resolves once no answer is to be expected. */
  async #despair(to: string, id: string, request: object): Promise<'gone' | 'silent'> {
    const { partOf, node } = this.#options
    const { link, keys } = partOf(to)
    const question = { from: node, request }
    let receivers = await this.#send(to, id, question)
    let waited = 0
    if (receivers === 0) {
      // Or it is about to subscribe anew: its streams are healthy, and a 404 would end them.
      await this.#pause(id)
      waited = LOOK
      receivers = await this.#send(to, id, question)
    }
    // It may have died with the question.
    for (; receivers !== 0; waited += LOOK) {
      if (waited >= ANSWER_TIMEOUT) return 'silent'
      await this.#pause(id)
      receivers = await link.receivers(keys.nodeChannel(to), id)
    }
    return 'gone'
  }

  /** Never resolves once the question is answered. */
  #pause(id: string): Promise<void> {
    return new Promise((resolve) => {
      const question = this.#asked.get(id)
      if (question) question.timer = this.#options.clock.setTimeout(resolve, LOOK)
    })
  }

  /**
   * Pub/Sub wakes the other one. What it is to believe it reads from a key, where nobody writes who
   * may only publish. Resolves with the number of those who were woken.
   */
  async #send(to: string, id: string, message: object): Promise<number> {
    const { link, keys } = this.#options.partOf(to)
    const [, receivers] = await Promise.all([
      link.commands.set(keys.mail(id), JSON.stringify({ to, ...message }), 'PX', MAIL_AGE),
      link.publish(keys.nodeChannel(to), id),
    ])
    return receivers
  }

  async #open(id: string): Promise<void> {
    const { partOf, host, node, nextId } = this.#options
    const { link, keys } = partOf(node)
    const text = (await link.commands.get(keys.mail(id))) ?? ''
    const { to, from, request, re, answer }: JsonObject = Object(parseJson(text))
    // Somebody may wake others with it, and again and again.
    if (to !== node || this.#heard.has(id)) return
    const [oldest = ''] = this.#heard.add(id)
    if (this.#heard.size > MAX_HEARD) this.#heard.delete(oldest)
    if (answer) this.#asked.get(String(re))?.answer(answer as Answer)
    else if (isText(from)) await this.#send(from, nextId(), { re: id, answer: await host.serve(request) })
  }
}
