import { isText } from '../../protocol'
import { ServerLine } from '../../testing/serverContract/serverLine'
import { Wire } from '../../testing/serverContract/wire'
import type { HeaderLines } from '../flags'
import { namesIn } from './hosts'
import { asked } from './judgePage'
import { failureOf, leaveAlone, overOf, probe } from './listen'
import { lookUp, sayNonsense, shakeHands } from './network'
import {
  type Exchange,
  type Hop,
  isCrossOrigin,
  isFailure,
  isStream,
  isTrustworthy,
  type Observation,
  type Outcome,
  type StreamSight,
  type Target,
} from './observation'
import { isSameSite } from './site'

export interface Plan {
  readonly target: Target
  /** The credentials, sent with each request but the preflight. */
  readonly headers: HeaderLines
  /** How long the stream is left alone, ms. */
  readonly idle: number
}

/** Redirects in a row, as in browsers. */
const MOST_HOPS = 20

/** Looks at everything once, in its order, as the page of `target` would. */
export async function observe(plan: Plan): Promise<Observation> {
  const { target } = plan
  const hops: Hop[] = []
  const address = await lookUp(target.url)
  if (isFailure(address)) return { target, address, hops }
  const tls = target.url.protocol === 'https:' ? await shakeHands(target.url, target.timeout) : undefined
  if (tls && (isFailure(tls) || tls.distrust !== undefined)) return { target, address, tls, hops }
  const visit = new Visit(plan, hops)
  const ask = await visit.ask()
  const preflight = isCrossOrigin(target) ? await visit.preflight() : undefined
  const { down, up } = await visit.open()
  // Where nothing answers, it may be one that speaks TLS.
  const isSilent = target.url.protocol === 'http:' && isFailure(ask) && isFailure(down)
  const shaken = isSilent ? await shakeHands(target.url, target.timeout) : tls
  const seen = [ask, down].flatMap((outcome) =>
    isFailure(outcome) ? [] : isStream(outcome) ? outcome.opened : outcome,
  )
  const isNamed = seen.some((exchange) => namesIn(exchange).length > 0)
  return {
    target,
    address,
    ...(shaken && { tls: shaken }),
    ask,
    ...(preflight && { preflight }),
    down,
    up,
    hops,
    // Some name themselves in no header.
    ...(!isNamed &&
      seen.length > 0 && {
        blunder: await sayNonsense(target.url, target.timeout),
        hasViteClient: await visit.hasViteClient(),
      }),
  }
}

class Visit {
  readonly #plan: Plan
  readonly #wire: Wire

  constructor(plan: Plan, hops: Hop[]) {
    this.#plan = plan
    this.#wire = new Wire(plan.target.url.href, plan.target.timeout, followingFetch(plan.target.url, hops))
  }

  ask(): Promise<Outcome<Exchange>> {
    return this.#exchange('GET events?ask', 'events?ask', { headers: this.#headersOf('GET') })
  }

  preflight(): Promise<Outcome<Exchange>> {
    const { target } = this.#plan
    return this.#exchange('OPTIONS send', 'send', {
      method: 'OPTIONS',
      headers: {
        ...pageHeaders(target, 'OPTIONS'),
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': asked(target).toSorted().join(','),
      },
    })
  }

  /** The stream, and the first POST. */
  async open(): Promise<{ readonly down: Outcome<StreamSight | Exchange>; readonly up: Outcome<Exchange> }> {
    const abort = new AbortController()
    const since = performance.now()
    try {
      const init = { headers: this.#headersOf('GET') }
      const response = await this.#wire.ask('GET events', 'events', init, abort)
      const { status, headers } = response
      const opened: Exchange = { request: 'GET events', status, headers, text: '', ms: performance.now() - since }
      if (!isEventStream(response)) {
        const text = await textOf(response, abort, this.#plan.target.timeout)
        return { down: { ...opened, text }, up: await this.#post() }
      }
      const line = new ServerLine(this.#wire, this.#headersOf('POST'), { response, abort })
      return await this.#listen(line, opened, since)
    } catch (error) {
      return { down: failureOf(error), up: await this.#post() }
    } finally {
      abort.abort()
    }
  }

  async #listen(line: ServerLine, opened: Exchange, since: number) {
    const frame = await line.until(() => line.frames[0], 'a frame').catch(() => undefined)
    const first = frame && { ms: frame.at - since, name: frame.name, json: frame.json ?? {} }
    const isWelcome = first?.name === 'welcome' && isText(first.json.connectionId)
    const { probes, up = await this.#post() } =
      isWelcome && line.has('probe') ? await probe(line, since) : { probes: [], up: undefined }
    const over = overOf(line, since)
    const isHeld = isWelcome && !over && this.#plan.idle > 0
    const hold = isHeld ? await leaveAlone(line, since, this.#plan.idle) : undefined
    return { down: { opened, first, bytes: line.bytes, over, probes, hold }, up }
  }

  /** [P30] Nothing acts on it. */
  #post(): Promise<Outcome<Exchange>> {
    const headers = { 'Content-Type': 'application/json', ...this.#headersOf('POST') }
    return this.#exchange('POST reconnect', 'reconnect', { method: 'POST', headers, body: '{}' })
  }

  async hasViteClient(): Promise<boolean> {
    const url = new URL('/@vite/client', this.#plan.target.url)
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(this.#plan.target.timeout) })
      return /javascript/.test(response.headers.get('content-type') ?? '') && /vite/.test(await response.text())
    } catch {
      return false
    }
  }

  async #exchange(request: string, path: string, init: RequestInit): Promise<Outcome<Exchange>> {
    const abort = new AbortController()
    const since = performance.now()
    try {
      const response = await this.#wire.ask(request, path, init, abort)
      const { status, headers } = response
      const duration = performance.now() - since
      // A server that does not know of `?ask` opens a stream.
      const isOpen = isEventStream(response) && headers.get('content-length') !== '0'
      const text = isOpen ? '' : await textOf(response, abort, this.#plan.target.timeout)
      return { request, status, headers, text, ms: duration }
    } catch (error) {
      return failureOf(error)
    } finally {
      abort.abort()
    }
  }

  #headersOf(method: 'GET' | 'POST'): HeaderLines {
    const { target, headers } = this.#plan
    const accept = method === 'GET' ? { Accept: 'text/event-stream', 'Cache-Control': 'no-cache' } : {}
    return { ...accept, ...pageHeaders(target, method), ...headers }
  }
}

/** Follows as `fetch` does within the origin, and notes each redirect. */
function followingFetch({ origin }: URL, hops: Hop[]): typeof fetch {
  return async (input, init = {}) => {
    const { method = 'GET' } = init
    let from = String(input)
    for (let count = 0; ; count++) {
      const response = await fetch(from, init)
      const { status } = response
      const target = response.headers.get('location')
      if (status < 300 || status >= 400 || target === null || method === 'OPTIONS') return response
      const to = URL.canParse(target, from) ? new URL(target, from).href : target
      if (!hops.some((hop) => hop.method === method && hop.from === from)) hops.push({ method, status, from, to })
      const isFollowed = URL.canParse(to) && new URL(to).origin === origin && (method === 'GET' || status >= 307)
      if (!isFollowed || count >= MOST_HOPS) return response
      await response.body?.cancel()
      from = to
    }
  }
}

/** [spec] Fetch, Fetch Metadata: a browser names the origin of all but a GET to the page's own. */
function pageHeaders(target: Target, method: 'GET' | 'POST' | 'OPTIONS'): HeaderLines {
  const { url, page } = target
  const isOwn = !isCrossOrigin(target)
  const site = isOwn ? 'same-origin' : isSameSite(url, new URL(page)) ? 'same-site' : 'cross-site'
  return {
    'Accept-Encoding': 'gzip, deflate, br',
    ...((method !== 'GET' || !isOwn) && { Origin: page }),
    ...(isTrustworthy(url) && { 'Sec-Fetch-Site': site, 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty' }),
  }
}

const isEventStream = ({ status, headers }: Response) =>
  status === 200 && /^text\/event-stream\b/i.test(headers.get('content-type') ?? '')

/** As much of an answer as came in time. */
async function textOf(response: Response, abort: AbortController, timeout: number): Promise<string> {
  const timer = setTimeout(() => abort.abort(), timeout)
  try {
    return await response.text()
  } catch {
    return ''
  } finally {
    clearTimeout(timer)
  }
}
