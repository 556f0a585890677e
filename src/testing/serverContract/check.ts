import {
  type Cursor,
  ENDPOINTS,
  type Feature,
  HEAD,
  isText,
  type JsonObject,
  newId,
  parseVerdicts,
  type SessionVerdict,
} from '../../protocol'
import type { Answer } from './answer'
import type { ServerContractOptions } from './case'
import { type Fault, NotPromised, Skipped } from './fault'
import { isSame, quoted } from './json'
import { resolveOptions } from './options'
import { type Place, type PostOptions, ServerLine } from './serverLine'
import { filled, newSession, newText, placeAt, rangesOf, sleep, waitOf } from './values'
import { Wire } from './wire'

/** Without them nothing else can be seen. */
const STREAM_RULE = 'P1'
const WELCOME_RULE = 'P6'
const RESUME_RULE = 'P57'
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

export type User = 'first' | 'second' | 'nobody'

/** What one case works with: requests, streams, a session, a message that makes the server talk. */
export class Check {
  readonly options: ServerContractOptions
  /** What one message makes: exactly so many where the options say it, else at least one. */
  readonly events: number
  readonly wire: Wire
  readonly #send: JsonObject
  readonly #needs: readonly Feature[]
  readonly #broken: ReadonlySet<string>
  readonly #aborts: AbortController[] = []
  /** What was said in messages. */
  readonly #texts: string[] = []

  /** @throws TypeError naming the option that is invalid or unknown */
  constructor(options: ServerContractOptions, needs: readonly Feature[], broken: ReadonlySet<string>) {
    const { url, send, events = 1, timeout, fetch } = resolveOptions(options)
    this.options = options
    this.events = events
    this.wire = new Wire(url, timeout, fetch)
    this.#send = send
    this.#needs = needs
    this.#broken = broken
  }

  get endpoint(): string {
    const { type } = this.#send
    return this.options.endpoint ?? (ENDPOINTS as Readonly<Record<string, string>>)[String(type)] ?? String(type)
  }

  headersOf(user: User): Readonly<Record<string, string>> {
    const { headers = {}, secondUser } = this.options
    if (user === 'nobody') return {}
    return user === 'first' ? headers : this.needed(secondUser, 'secondUser', '--second-user')
  }

  /** @throws Skipped */
  needed<T>(value: T | undefined, option: string, flag: string): T {
    if (value === undefined) throw new Skipped(`it needs the option \`${option}\` (${flag})`)
    return value
  }

  /** Closes all that was opened. */
  close() {
    for (const abort of this.#aborts) abort.abort()
  }

  // The stream

  /** A GET of the stream, whatever is answered. It ends with the case. */
  async get(headers: Readonly<Record<string, string>> = this.headersOf('first'), query = '') {
    const abort = new AbortController()
    this.#aborts.push(abort)
    const told = Object.entries(headers).filter(([name]) => /^(origin|sec-)/i.test(name))
    const said = `GET events${query}${told.length > 0 ? ` with ${quoted(Object.fromEntries(told))}` : ''}`
    const init = { headers: { Accept: 'text/event-stream', ...headers } }
    return { response: await this.wire.ask(said, `events${query}`, init, abort), abort }
  }

  /** A GET that has to be a stream. What asks to wait is waited for, where there is time. */
  async stream(user: User = 'first') {
    this.#restOn(STREAM_RULE)
    for (const end = Date.now() + this.wire.timeout; ; ) {
      const got = await this.get(this.headersOf(user))
      const { status, headers } = got.response
      const wait = waitOf(status, headers)
      if (wait !== undefined && Date.now() + wait < end) {
        got.abort.abort()
        await sleep(wait)
        continue
      }
      const type = headers.get('content-type')
      if (status === 200 && /^text\/event-stream\b/i.test(type ?? '')) return got
      const hint = status === 401 ? '; say who asks with `headers` (--header, --cookie)' : ''
      throw this.wire.fault(`was answered ${status} with ${type ?? 'no type'}, not 200 with text/event-stream${hint}`)
    }
  }

  /** A stream that has been welcomed. @throws NotPromised if it lacks what the rule is about */
  async open(user: User = 'first'): Promise<ServerLine> {
    this.#restOn(WELCOME_RULE)
    const line = new ServerLine(this.wire, this.headersOf(user), await this.stream(user))
    const first = await line.until(() => line.frames[0], 'a first frame')
    const { type, protocolVersion, connectionId } = first.json ?? {}
    const isWelcome = first.name === 'welcome' && type === 'welcome' && protocolVersion === 2 && isText(connectionId)
    if (!isWelcome)
      throw this.wire.fault(`the first frame is ${first.name ?? 'unnamed'}, ${quoted(first.json ?? first.data)}`)
    const missing = this.#needs.filter((feature) => !line.has(feature))
    if (missing.length > 0) throw new NotPromised(`welcome.features has no ${missing.join(', no ')}`)
    return line
  }

  // Sessions

  /** A session of this case alone or, where `send` names one, that one from now on. */
  async place(): Promise<Place> {
    const { sessionId } = this.#send
    if (!isText(sessionId) || sessionId.includes('{session}')) return { sessionId: newSession(), lastSeq: 0 }
    const line = await this.open()
    const answer = await this.resume(line, [{ sessionId, lastSeq: HEAD }])
    const { to = 0, epoch } = (await this.verdict(line, answer, sessionId)) ?? {}
    line.close()
    return { sessionId, lastSeq: to, ...(epoch !== undefined && { epoch }) }
  }

  /** As strict as a client is. */
  async resume(line: ServerLine, sessions: readonly Cursor[], resumeId = newId()): Promise<Answer> {
    this.#restOn(RESUME_RULE)
    const answer = await line.post('reconnect', { type: 'reconnect', resumeId, sessions })
    return answer.expect(answer.isAccepted && answer.isBody && answer.json.ok !== false, '2xx {"ok":true}')
  }

  /** The server's word on a session, from the answer to a resume or from its marker. */
  async verdict(line: ServerLine, answer: Answer, sessionId: string): Promise<SessionVerdict | undefined> {
    const find = (told: unknown) => parseVerdicts(told).find((verdict) => verdict.sessionId === sessionId)
    const answered = find(answer.json)
    if (answered || !line.has('replay-marker')) return answered
    await line.until(() => line.controls('reconnected').length > 0, 'the marker')
    return line.controls('reconnected').map(find).find(Boolean)
  }

  /** The events of a session that come after a place, once there are so many. */
  hears(line: ServerLine, { sessionId, lastSeq }: Place, count: number): Promise<readonly JsonObject[]> {
    const come = () => line.eventsOf(sessionId).filter(({ seq }) => Number(seq) > lastSeq)
    return line.until(
      () => {
        const events = come()
        return events.length >= count && events
      },
      () => `${count} events after ${lastSeq} of ${sessionId}, but ${rangesOf(come().map(({ seq }) => Number(seq)))},`,
    )
  }

  // Messages

  message({ sessionId }: Pick<Place, 'sessionId'>, text = newText()): JsonObject {
    this.#texts.push(text)
    return filled(this.#send, { session: sessionId, text }) as JsonObject
  }

  /**
   * Posts a message that has to be accepted; where the server is busy, another one a bit later.
   *
   * @throws Skipped if no server is heard at all
   */
  async talk(line: ServerLine, place: Place, options: Pick<PostOptions, 'lane'> = {}): Promise<Talk> {
    this.#restOn(ATTACH_RULE)
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

  /**
   * Whatever was on its way to a stream has probably come; without `probe` and marker: certainly
   * not.
   */
  async settles(line: ServerLine): Promise<void> {
    if (line.has('probe')) {
      const nonce = newId()
      await line.post('probe', { type: 'probe', nonce })
      await line.until(() => line.controls('probe').some((frame) => frame.nonce === nonce), 'the answer to a probe')
    } else if (line.has('replay-marker')) {
      const before = line.controls('reconnected').length
      await this.resume(line, [{ sessionId: newSession(), lastSeq: 0 }])
      await line.until(() => line.controls('reconnected').length > before, 'a marker')
    }
  }

  // Findings

  fault(came: string): Fault {
    return this.wire.fault(came)
  }

  expect(isRight: boolean, came: string) {
    if (!isRight) throw this.fault(came)
  }

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

  /** @throws Skipped if the rule is known to be broken */
  #restOn(rule: string) {
    if (this.#broken.has(rule)) throw new Skipped(`it rests on ${rule}, which is broken`)
  }
}
