import { Refusal } from '../errors'

/** Modes in which no script can read the answer: a visit, an `<img>`, a `fetch` with `no-cors`. */
const BLIND_MODES = ['navigate', 'no-cors']
const FRAMES = ['document', 'iframe', 'frame', 'embed', 'object']

/**
 * Refuses a GET that no EventSource, `fetch` or WebSocket makes. A page that is of the same site,
 * but of another origin, sends a visitor's cookies along: 20 iframes on `/events` would hold all
 * the streams that the visitor may have.
 *
 * Absent headers refuse nothing: Node, proxies and older browsers send few of them or none.
 *
 * @throws Refusal 403
 */
export function checkFetchMetadata({ headers }: Request, hasOriginList: boolean): void {
  for (const [name, refused] of [
    ['Sec-Fetch-Mode', BLIND_MODES],
    ['Sec-Fetch-Dest', FRAMES],
  ] as const) {
    const value = headers.get(name)
    if (value !== null && refused.includes(value)) throw refusal(`${name}: ${value}`)
  }
  // [spec] each request of a mode that lets a script read the answer names its origin, unless that
  // is the server's own.
  const site = headers.get('Sec-Fetch-Site')
  if (hasOriginList || headers.has('Origin')) return
  if (site === 'same-site' || site === 'cross-site') throw refusal(`Sec-Fetch-Site: ${site} without an Origin`)
}

const refusal = (seen: string) =>
  new Refusal(
    403,
    'fetch-metadata',
    {},
    `${seen}: this is for an EventSource, a fetch or a WebSocket of a page of this origin or a listed one, not to be visited or embedded`,
  )
