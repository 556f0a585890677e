import { FEATURES } from '../../src/protocol'
import { createCounter, type Dice, pick, type Weights } from './dice'
import { POST_FAULTS, STREAM_FAULTS } from './faults'
import { startProxy } from './proxy'
import { type Scenario, SPEED } from './scenario'

const POSTS: Weights<keyof typeof POST_FAULTS> = {
  drop: 12,
  dropAfter: 12,
  cutAnswer: 10,
  truncateAnswer: 6,
  delayRequest: 3,
  delayAnswer: 3,
  hang: 0.3,
  hangAfter: 0.3,
  answer500: 8,
  answer500After: 4,
  answer503: 4,
  answer503After: 2,
  answer429: 3,
  answer429After: 1,
  answer401: 2,
  answer401After: 1,
  answer404: 3,
  answer404After: 2,
  answerEmpty: 5,
  answerEmptyAfter: 3,
  answerHtml: 5,
  answerHtmlAfter: 3,
}
const STREAMS: Weights<keyof typeof STREAM_FAULTS> = {
  cutMidFrame: 250,
  cutBetweenFrames: 100,
  cutWelcome: 50,
  goSilent: 20,
  stall: 60,
  repeatFrame: 60,
  loseFrame: 100,
  drop: 50,
  hang: 15,
  hangBeforeWelcome: 15,
  answer500: 40,
  answer503: 30,
  answer429: 30,
  answer401: 15,
  answer404: 15,
  answerEmpty: 10,
  answerHtml: 15,
}

/** A type of message whose endpoint is nowhere to be found, and the endpoint. */
export const LOST_TYPE = 'permission_response'
const LOST_ENDPOINT = 'permission'

/** The proxy of a run, and what the dice let it do. */
export async function startLine(
  { draw }: Dice,
  { features, server }: Scenario,
  target: string,
  tell: (fault: string, what: string) => void,
) {
  const seen = createCounter()
  let isCalm = false

  const proxy = await startProxy({
    target: new URL(target).origin,
    withhold: features.includes('idempotency') ? [] : ['idempotency-key'],
    plan(endpoint, body) {
      const [first] = numbersIn(body)
      const request = `${endpoint} ${first ?? ''}`
      const what = `${request} #${seen(request)}`
      const random = draw('line', what)
      if (isCalm) return { random }
      if (endpoint === 'events') {
        const name = pick(STREAMS, random)
        if (!name || (name === 'loseFrame' && !features.includes('contiguous-seq'))) return { random }
        tell(`stream ${name}`, what)
        return { fault: STREAM_FAULTS[name], random }
      }
      if (endpoint === LOST_ENDPOINT) return { fault: POST_FAULTS.answer404, random }
      // A batch carries many messages.
      const name = pick(POSTS, endpoint === 'batch' ? () => random() / 3 : random)
      // Nobody can tell it from success, unless there must be a receipt.
      const isCredible = name?.startsWith('answerEmpty') && (first === undefined || !features.includes('receipts'))
      if (!name || isCredible) return { random }
      tell(`post ${name}`, what)
      return { fault: POST_FAULTS[name], random }
    },
    rewrite(frame) {
      if (frame.startsWith('event: welcome')) {
        const told = server === 'own' ? frame : onClock(frame)
        return FEATURES.filter((feature) => !features.includes(feature)).reduce(
          (rest, feature) => rest.replace(`"${feature}"`, `"no-${feature}"`),
          told,
        )
      }
      return !features.includes('replay-marker') && /"type": ?"reconnected"/.test(frame) ? '' : frame
    },
  })

  return {
    proxy,
    url: proxy.origin + new URL(target).pathname,
    /** No more faults, from the next request on. */
    calm() {
      isCalm = true
    },
  }
}

/** The clock of a foreign server is a real one. */
const onClock = (welcome: string) =>
  welcome.replace(/"(heartbeat|receiptAge)": ?(\d+)/g, (_, name, ms) => `"${name}":${SPEED * ms}`)

/** The messages' numbers in what is posted: one, those of a batch, or none. */
export function numbersIn(body: unknown): number[] {
  if (typeof body !== 'string' || !body) return []
  const message = JSON.parse(body)
  const all =
    message.type === undefined && message.messages
      ? message.messages.map((part: { body: unknown }) => part.body)
      : [message]
  return all.map(({ n }: { n?: number }) => n).filter(Number.isInteger)
}
