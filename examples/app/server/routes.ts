import type { ReadableStream } from 'node:stream/web'
import type { ChatServer } from 'holdline/server'
import type { Transcripts } from 'holdline/server/transcripts'
import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { secureHeaders } from 'hono/secure-headers'
import type { Transcript } from '../shared/transcript'
import type { Login } from './login'
import type { Sessions } from './sessions'
import { etagOf, responseFor, type Uploads } from './uploads'

// All that the page may ask for. What is a user's is below `/api/users/<name>`, and only a login of
// that name gets there: so a page never acts under the login of somebody who came after its user,
// with what it had queued or in a tab that was left open.

interface RouteParts {
  readonly login: Login
  readonly sessions: Sessions
  readonly transcripts: Transcripts<Transcript>
  readonly uploads: Uploads
  readonly server: ChatServer
}

/** For the page. A file that was uploaded brings stricter ones. */
const HEADERS: Parameters<typeof secureHeaders>[0] = {
  overwrite: false,
  referrerPolicy: 'same-origin',
  strictTransportSecurity: 'max-age=15552000',
  contentSecurityPolicy: {
    defaultSrc: ["'self'"],
    imgSrc: ["'self'", 'data:'],
    objectSrc: ["'none'"],
    baseUri: ["'none'"],
    frameAncestors: ["'none'"],
  },
}
const REFUSALS = { 'too-large': 413, 'bad-type': 415, 'no-room': 403 } as const

export function createRoutes(parts: RouteParts) {
  const { login, server } = parts
  const app = new Hono()
  app.use(secureHeaders(HEADERS))
  app.use('/api/*', async (c, next) => {
    if (c.req.method !== 'GET' && !login.isOwnPage(c.req.raw)) return c.json({ error: 'origin' }, 403)
    await next()
    if (!c.res.headers.has('Cache-Control')) c.header('Cache-Control', 'no-store')
  })
  addLogin(app, parts)
  app.use('/api/users/:user/*', async (c, next) => {
    if (login.userOf(c.req.raw)?.id !== c.req.param('user')) return c.json({ error: 'unauthorized' }, 401)
    return next()
  })
  app.all('/api/users/:user/chat/*', (c) => server.fetch(c.req.raw))
  addSessions(app, parts)
  addFiles(app, parts)
  app.all('/api/*', (c) => c.json({ error: 'not-found' }, 404))
  return app
}

function addLogin(app: Hono, { login, server }: RouteParts) {
  app.get('/api/me', (c) => c.json({ user: login.userOf(c.req.raw) }))

  app.post('/api/login', bodyLimit({ maxSize: 4_096 }), async (c) => {
    const entered = await login.enter(await c.req.json().catch(() => null))
    if (!entered) return c.json({ error: 'login' }, 401)
    c.header('Set-Cookie', entered.cookie)
    return c.json({ user: entered.user })
  })

  app.post('/api/logout', async (c) => {
    const user = login.userOf(c.req.raw)
    c.header('Set-Cookie', login.leave(c.req.raw))
    // All streams of the user end now. The tabs of this login are refused when they come back;
    // other devices have logins of their own, and go on.
    if (user) await server.revoke(user.id)
    return c.json({ user: null })
  })
}

function addSessions(app: Hono, { sessions, transcripts }: RouteParts) {
  app.get('/api/users/:user/sessions', async (c) => c.json(await sessions.list(c.req.param('user'))))

  app.post('/api/users/:user/sessions', async (c) => {
    const session = await sessions.create(c.req.param('user'))
    return session === 'too-many' ? c.json({ error: session }, 403) : c.json(session, 201)
  })

  app.use('/api/users/:user/sessions/:session/*', async (c, next) => {
    const { user, session } = c.req.param()
    return (await sessions.has(user, session)) ? next() : c.json({ error: 'gone' }, 404)
  })

  /** For `load` of `useSession`. */
  app.get('/api/users/:user/sessions/:session/history', async (c) => {
    return c.json(await transcripts.read(c.req.param('session')))
  })
}

function addFiles(app: Hono, { uploads }: RouteParts) {
  app.post('/api/users/:user/sessions/:session/files', async (c) => {
    const { user, session } = c.req.param()
    const body = c.req.raw.body as ReadableStream<Uint8Array> | null
    if (!body) return c.json({ error: 'empty' }, 400)
    const upload = await uploads.receive({ user, session, name: c.req.query('name') ?? '', body })
    return typeof upload === 'string' ? c.json({ error: upload }, REFUSALS[upload]) : c.json(upload, 201)
  })

  app.get('/api/users/:user/sessions/:session/files/:file', async (c) => {
    const { user, session, file } = c.req.param()
    const upload = await uploads.find(user, session, file)
    if (!upload) return c.json({ error: 'gone' }, 404)
    const isKnown = c.req.header('If-None-Match') === etagOf(file)
    if (isKnown) return c.body(null, 304, { 'Cache-Control': 'private, no-cache' })
    return responseFor(uploads.pathOf(user, file), upload)
  })
}
