import {
  type Cursor,
  type Feature,
  isText,
  type JsonObject,
  newId,
  parseVerdicts,
  type SessionVerdict,
} from '../../protocol'
import type { Answer } from './answer'
import type { ServerContractOptions } from './case'
import { type Fault, NotPromised, Skipped } from './fault'
import { quoted } from './json'
import { resolveOptions } from './options'
import { type Place, ServerLine } from './serverLine'
import { newSession, rangesOf, sleep, waitOf } from './values'
import { Wire } from './wire'

/** Without them nothing else can be seen. */
const STREAM_RULE = 'P1'
const WELCOME_RULE = 'P6'
const RESUME_RULE = 'P57'

export type User = 'first' | 'second' | 'nobody'

/** The streams of one case: who opens them, what is resumed on them, what they have heard. */
export class Streams {
  readonly options: ReturnType<typeof resolveOptions>
  readonly wire: Wire
  readonly #needs: readonly Feature[]
  readonly #broken: ReadonlySet<string>
  readonly #aborts: AbortController[] = []

  /** @throws TypeError naming the option that is invalid or unknown */
  constructor(options: ServerContractOptions, needs: readonly Feature[], broken: ReadonlySet<string>) {
    this.options = resolveOptions(options)
    const { url, timeout, fetch } = this.options
    this.wire = new Wire(url, timeout, fetch)
    this.#needs = needs
    this.#broken = broken
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

  // Opening

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
    this.restOn(STREAM_RULE)
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
    this.restOn(WELCOME_RULE)
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

  // Hearing

  /** As strict as a client is. */
  async resume(line: ServerLine, sessions: readonly Cursor[], resumeId = newId()): Promise<Answer> {
    this.restOn(RESUME_RULE)
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

  // Finding

  fault(came: string): Fault {
    return this.wire.fault(came)
  }

  expect(isRight: boolean, came: string) {
    if (!isRight) throw this.fault(came)
  }

  /** @throws Skipped if the rule is known to be broken */
  protected restOn(rule: string) {
    if (this.#broken.has(rule)) throw new Skipped(`it rests on ${rule}, which is broken`)
  }
}
