import { ENDPOINTS, HEAD, isText, type JsonObject, newId } from '../../protocol'
import type { Answer } from './answer'
import { Skipped } from './fault'
import { isSame, quoted } from './json'
import type { Place, PostOptions, ServerLine } from './serverLine'
import { Streams } from './streams'
import { filled, newSession, newText, placeAt, rangesOf, sleep, waitOf } from './values'

/** Without it no talk is heard. */
const ATTACH_RULE = 'P53'

/** A message that was sent, and how it was answered. */
export interface Talk {
  readonly text: string
  readonly key: string
  readonly message: JsonObject
  readonly answer: Answer
}

/** A session in which something has been said, and who has heard it. */
export interface Conversation {
  readonly line: ServerLine
  /** As it was before. */
  readonly place: Place
  readonly events: readonly JsonObject[]
  readonly last: Place
}

/** What a stream is to hear after a place, at least. */
export interface Hearing {
  readonly line: ServerLine
  readonly from: Place
  readonly least: number
}

/** What one case works with: its streams, a session, a message that makes the server talk. */
export class Check extends Streams {
  /** What was said in messages. */
  readonly #texts: string[] = []

  /** What one message makes: exactly so many where the options say it, else at least one. */
  get events(): number {
    return this.options.events ?? 1
  }

  get endpoint(): string {
    const { type } = this.options.send
    return this.options.endpoint ?? (ENDPOINTS as Readonly<Record<string, string>>)[String(type)] ?? String(type)
  }

  /** A session of this case alone or, where `send` names one, that one from now on. */
  async place(): Promise<Place> {
    const { sessionId } = this.options.send
    if (!isText(sessionId) || sessionId.includes('{session}')) return { sessionId: newSession(), lastSeq: 0 }
    const line = await this.open()
    const answer = await this.resume(line, [{ sessionId, lastSeq: HEAD }])
    const { to = 0, epoch } = (await this.verdict(line, answer, sessionId)) ?? {}
    line.close()
    return { sessionId, lastSeq: to, ...(epoch !== undefined && { epoch }) }
  }

  message({ sessionId }: Pick<Place, 'sessionId'>, text = newText()): JsonObject {
    this.#texts.push(text)
    return filled(this.options.send, { session: sessionId, text }) as JsonObject
  }

  /**
   * Posts a message that has to be accepted; where the server is busy, another one a bit later.
   *
   * @throws Skipped if no server is heard at all
   */
  async talk(line: ServerLine, place: Place, options: Pick<PostOptions, 'lane'> = {}): Promise<Talk> {
    this.restOn(ATTACH_RULE)
    for (const end = Date.now() + this.wire.timeout; ; ) {
      const [text, key] = [newText(), newId()]
      const message = this.message(place, text)
      const answer = await line.post(this.endpoint, message, { key, ...options })
      const wait = waitOf(answer.status, answer.headers)
      if (wait === undefined || Date.now() + wait > end) return { text, key, message, answer: answer.expectAccepted() }
      await sleep(wait)
    }
  }

  /**
   * Applied were so many messages of a conversation, and one more that is sent now: not one twice.
   */
  async expectTalks({ line, place }: Pick<Conversation, 'line' | 'place'>, talks: number): Promise<void> {
    const isEchoed = (text: string) => line.frames.some(({ data }) => data.includes(text))
    const hasEchoes = this.#texts.some(isEchoed)
    const { text } = await this.talk(line, place)
    const wanted = (talks + 1) * this.events
    await this.hears(line, place, wanted)
    // Whatever was applied twice stands before the last message.
    if (hasEchoes) await line.until(() => isEchoed(text), `an event with "${text}"`)
    await this.settles(line)
    const events = line.eventsOf(place.sessionId).filter(({ seq }) => Number(seq) > place.lastSeq)
    if (this.options.events === undefined) return this.#expectEchoedOnce(events, text)
    const each = `each makes ${this.events} (\`events\`)`
    this.expect(events.length === wanted, `${events.length} events came of ${talks + 1} messages, and ${each}`)
  }

  /** Where it is not known how many events a message makes, those that have its text tell. */
  #expectEchoedOnce(events: readonly JsonObject[], last: string) {
    const echoesOf = (text: string) => {
      const echoes = events.filter((event) => JSON.stringify(event).includes(text))
      return echoes.filter(({ type }) => type === echoes[0]?.type).length
    }
    const most = Math.max(1, echoesOf(last))
    const twice = this.#texts.find((text) => echoesOf(text) > most)
    this.expect(twice === undefined, `the message with "${twice}" was applied again`)
  }

  /**
   * The events that have these texts come in the order of the texts. @throws Skipped if none has
   */
  async expectOrder({ line, place }: Pick<Conversation, 'line' | 'place'>, texts: readonly string[]): Promise<void> {
    await this.hears(line, place, texts.length * this.events)
    await this.settles(line)
    const echoes = () => line.frames.flatMap(({ data }) => texts.filter((text) => data.includes(text)))
    if (echoes().length === 0) throw new Skipped('no event has the text that was sent, so the order cannot be told')
    const come = () => [...new Set(echoes())]
    await line.until(() => come().length === texts.length, `an event with each of ${quoted(texts)}`)
    this.expect(isSame(come(), texts), `the events came as ${quoted(come())}, and not as ${quoted(texts)}`)
  }

  /** A stream that follows a session, and has heard what `talks` messages in it make. */
  async conversation(talks: number): Promise<Conversation> {
    const line = await this.open()
    const place = await this.place()
    await this.resume(line, [place])
    for (let n = 0; n < talks; n += 1) {
      await this.talk(line, place)
      await this.hears(line, place, (n + 1) * this.events)
    }
    const events = await this.hears(line, place, talks * this.events)
    return { line, place, events, last: placeAt(events.at(-1), place) }
  }

  // Findings

  /** A stream gets after a place what another stream was told, which may have gone on since. */
  async expectTold(what: string, { line, from, least }: Hearing, other: ServerLine): Promise<void> {
    const came = await this.hears(line, from, least)
    const seqs = came.map(({ seq }) => Number(seq))
    const isRising = seqs.every((seq, index) => seq > (seqs[index - 1] ?? from.lastSeq))
    this.expect(isRising, `${what} came as ${rangesOf(seqs)}`)
    const told = await this.hears(other, from, came.length)
    this.expectEvents(came, told.slice(0, came.length), what)
  }

  /** The very same events, in the same order. */
  expectEvents(came: readonly JsonObject[], wanted: readonly JsonObject[], what: string) {
    const index = wanted.findIndex((event, at) => !isSame(event, came[at]))
    if (index < 0 && came.length === wanted.length) return
    const isOther = index >= 0 && came[index]?.seq === wanted[index]?.seq
    const seqs = (events: readonly JsonObject[]) => rangesOf(events.map(({ seq }) => Number(seq)))
    throw this.fault(
      isOther
        ? `${what} has ${quoted(came[index])}, and it was ${quoted(wanted[index])}`
        : `${what} came as ${seqs(came)}, and not as ${seqs(wanted)}`,
    )
  }
}
