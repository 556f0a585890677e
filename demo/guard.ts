import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/**
 * The names that the demo is called by. It listens on loopback, so any other one was pointed there
 * by somebody (DNS rebinding).
 */
export const HOSTS = ['127.0.0.1', 'localhost', '[::1]'] as const

/** On every answer: no page may frame it, and nothing in it comes from elsewhere. */
export const GUARD_HEADERS = {
  'Content-Security-Policy':
    "default-src 'self'; img-src data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'X-Frame-Options': 'DENY',
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
} as const

/**
 * Why a request is not served, in a sentence; nothing, if it is. A page of another port is of the
 * same site, so cookies do not tell.
 */
export function refusalOf({ method, url, headers }: Request): string | undefined {
  const { origin, hostname } = new URL(url)
  if (!HOSTS.some((host) => host === hostname)) return `this demo answers at ${HOSTS.join(', ')}, not at ${hostname}`
  if (method === 'GET' || method === 'HEAD') return undefined
  const site = headers.get('Sec-Fetch-Site') ?? 'same-origin'
  const from = headers.get('Origin') ?? origin
  return site === 'same-origin' && from === origin ? undefined : 'only a page of this demo may do that'
}

export type Visitors = ReturnType<typeof createVisitors>

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * Visitors by their cookie: `<random id>.<signature>`. Who names an id is that visitor, as nobody
 * can guess it: so a page goes on talking when the demo was started anew. What concerns others
 * takes the signature of this process.
 */
export function createVisitors() {
  const secret = randomBytes(32)
  const sign = (id: string) => createHmac('sha256', secret).update(id).digest()
  const idOf = (cookie = '') => {
    const [id = ''] = cookie.split('.', 1)
    return UUID.test(id) ? id : undefined
  }

  function isSigned(cookie: string, id: string) {
    const given = Buffer.from(cookie.slice(id.length + 1), 'base64url')
    const own = sign(id)
    return given.length === own.length && timingSafeEqual(given, own)
  }

  return {
    idOf,
    /** The id, if this process has given it out. */
    known(cookie = ''): string | undefined {
      const id = idOf(cookie)
      return id !== undefined && isSigned(cookie, id) ? id : undefined
    },
    /** A cookie of this process, for the visitor that they were before. */
    welcome(cookie = ''): string {
      const id = idOf(cookie) ?? crypto.randomUUID()
      return `${id}.${sign(id).toString('base64url')}`
    },
  }
}
