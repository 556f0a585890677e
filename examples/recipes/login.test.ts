import { createConnection } from 'holdline'
import { createChatServer } from 'holdline/server'
import { afterEach, expect, test } from 'vitest'
import { listen } from '../../tools/shared/listen'
import { keepSignedIn, resume } from './login'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const isSignedIn = (request: Request) => request.headers.get('cookie') === 'session=1'

/** What the server, or the app around it, answers a request whose session has ended. */
const ANSWERS: Readonly<Record<string, (request: Request) => Response | null>> = {
  '401': () => null,
  'a 302 to a login page': (request) => Response.redirect(new URL('/login', request.url)),
}

async function setUp(answer: (request: Request) => Response | null) {
  const took: unknown[] = []
  const server = createChatServer({
    authenticate: (request) => (isSignedIn(request) ? { id: 'ann' } : null),
    authorize: () => true,
    async onCommand({ sessionId = '', message, publish }) {
      took.push(message.n)
      await publish(sessionId, { type: 'took', n: message.n })
    },
  })
  const host = await listen((request) => {
    if (request.url.endsWith('/login')) return new Response('<form>', { headers: { 'Content-Type': 'text/html' } })
    return (!isSignedIn(request) && answer(request)) || server.fetch(request)
  })
  cleanups.push(host.close, () => server.close())
  const jar = { cookie: 'session=1', logins: 0 }
  const connection = createConnection({
    url: host.url,
    backoff: { base: 10, cap: 50 },
    // A browser would add the cookie by itself.
    fetch: (url, init) => {
      const headers = new Headers(init?.headers)
      headers.set('Cookie', jar.cookie)
      return fetch(url, { ...init, headers })
    },
  })
  cleanups.push(connection.dispose)
  const heard: unknown[] = []
  connection.on('message', ({ n }) => heard.push(n))
  keepSignedIn(connection, async () => {
    jar.logins++
    jar.cookie = 'session=1'
  })
  connection.watch('s1')
  connection.connect()
  const say = (n: number) => connection.send({ type: 'send', sessionId: 's1', n }).settled
  expect(await say(1)).toMatchObject({ status: 'accepted' })
  return { connection, host, jar, took, heard, say }
}

test.each(Object.entries(ANSWERS))(
  'a session that ends while the line is open, answered %s: one login, and nothing is lost or done twice',
  async (_, answer) => {
    const { jar, took, heard, say } = await setUp(answer)
    jar.cookie = ''
    const verdicts = await Promise.all([say(2), say(3)])
    expect(verdicts.map(({ status }) => status)).toEqual(['accepted', 'accepted'])
    await expect.poll(() => heard).toEqual([1, 2, 3])
    expect([jar.logins, took]).toEqual([1, [1, 2, 3]])
  },
)

test.each(Object.entries(ANSWERS))(
  'a session that has ended when the stream drops, answered %s: one login, and nothing is lost or done twice',
  async (_, answer) => {
    const { host, jar, took, heard, say } = await setUp(answer)
    jar.cookie = ''
    host.destroySockets()
    await expect.poll(() => jar.logins).toBe(1)
    expect(await say(2)).toMatchObject({ status: 'accepted' })
    await expect.poll(() => heard).toEqual([1, 2])
    expect([jar.logins, took]).toEqual([1, [1, 2]])
  },
)

test('what goes on after a login is what fits the phase', async () => {
  const { connection } = await setUp(() => null)
  const refused: unknown[] = []
  connection.on('refused', (event) => refused.push(event))
  resume(connection)
  connection.disconnect()
  resume(connection)
  await expect.poll(() => connection.phase).toBe('open')
  expect(refused).toEqual([])
})
