import { type ClientRequest, request } from 'node:http'
import { HONEST } from '../names'
import type { Attack, Target } from '../types'
import { flood, found } from '../wire'

/**
 * What a browser says of a GET that a page of another site, or of a sibling domain, has
 * caused. [spec] Fetch Metadata
 */
const CAUSES: readonly Readonly<Record<string, string>>[] = [
  { 'Sec-Fetch-Site': 'same-site', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'iframe' },
  { 'Sec-Fetch-Site': 'same-site', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' },
  { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'embed' },
  { 'Sec-Fetch-Site': 'same-site', 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'image' },
  { 'Sec-Fetch-Site': 'same-site', 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'script' },
]

/**
 * With the visitor's cookie, which is the honest client's: the attacker's page only causes the
 * requests.
 */
export const iframes: Attack = {
  row: 'C102',
  name: "another page's iframes on /events",
  over: ['http'],
  logs: ['memory'],
  seconds: 3,
  async run(target, signal) {
    const held = new Set<ClientRequest>()
    const given: Record<string, number> = {}
    await flood(signal, { count: 2_000, atOnce: 20, perSecond: 200 }, async (n) => {
      const cause = CAUSES[n % CAUSES.length] ?? {}
      const { status, asked } = await get(target, cause)
      if (status !== 200) return asked.destroy()
      held.add(asked)
      const dest = cause['Sec-Fetch-Dest'] ?? ''
      given[dest] = (given[dest] ?? 0) + 1
    })
    for (const asked of held) asked.destroy()
    const names = Object.keys(given)
    return found(
      { held: held.size },
      names.length > 0 && `GET /events gave a stream to a request for: ${names.join(', ')}; expected 403`,
    )
  },
}

function get({ url }: Target, cause: Readonly<Record<string, string>>) {
  return new Promise<{ status: number; asked: ClientRequest }>((resolve) => {
    const asked = request(`${url}/events`, { agent: false, headers: { Cookie: `who=${HONEST}`, ...cause } })
    asked.on('response', (response) => {
      response.resume()
      resolve({ status: response.statusCode ?? 0, asked })
    })
    asked.on('error', () => resolve({ status: 0, asked }))
    asked.end()
  })
}
