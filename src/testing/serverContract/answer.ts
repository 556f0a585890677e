import { type JsonObject, parseJson } from '../../protocol'
import { isToBeRepeated, meaningOf } from '../../protocol/status'
import { Fault } from './fault'
import { brief } from './json'

/** The answer to one POST. */
export class Answer {
  readonly sent: string
  readonly status: number
  readonly headers: Headers
  readonly text: string

  /** `sent`: the POST, for a sentence. */
  constructor(sent: string, { status, headers }: Response, text: string) {
    this.sent = sent
    this.status = status
    this.headers = headers
    this.text = text
  }

  /** The members of its JSON; none if it is no object. */
  get json(): JsonObject {
    return Object(this.receipt)
  }

  get isJson(): boolean {
    return /^application\/([^;]*\+)?json\b/i.test(this.headers.get('content-type') ?? '')
  }

  /** Its JSON, whatever it is; undefined if it has none. */
  get receipt(): unknown {
    return parseJson(this.text)
  }

  /** There is JSON in it. */
  get isBody(): boolean {
    return this.receipt !== undefined
  }

  get isAccepted(): boolean {
    return meaningOf(this.status) === 'accepted'
  }

  /** A client does not repeat the message after it. */
  get isFinalRefusal(): boolean {
    return isFinalRefusal(this.status)
  }

  /** As in a sentence: in one line, also where it is a page of HTML. */
  get told(): string {
    return `was answered ${this.status} ${brief(this.text.replace(/\s+/g, ' ').trim()) || '(without a body)'}`
  }

  expect(isRight: boolean, wanted: string): this {
    if (isRight) return this
    throw new Fault(this.sent, `${this.told}, not ${wanted}`)
  }

  expectAccepted(): this {
    return this.expect(this.isAccepted, '2xx')
  }

  /** `because`: what is wrong with what was sent, where the sentence does not show it. */
  expectFinalRefusal(because = ''): this {
    return this.expect(this.isFinalRefusal, `a 4xx that ends the message${because && ` (${because})`}`)
  }
}

export const isFinalRefusal = (status: number) =>
  status >= 400 && status < 500 && !isToBeRepeated(status) && meaningOf(status) !== 'gone'
