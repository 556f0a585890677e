import type { Server } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { serve } from '@hono/node-server'
import { serveStatic } from '@hono/node-server/serve-static'
import { fileStore } from 'holdline/server/node'
import { createTranscripts } from 'holdline/server/transcripts'
import { chat } from '../shared/protocol'
import { breakOff, EMPTY, reduce } from '../shared/transcript'
import { createChat } from './chat'
import { closeLog, log } from './log'
import { createLogin } from './login'
import { createRoutes } from './routes'
import { createSessions } from './sessions'
import { readSettings } from './settings'
import { createUploads } from './uploads'

const settings = readSettings(process.env)
const { isDevelopment, host, port, data } = settings
const login = createLogin(settings)
const sessions = createSessions(settings)
// What was said, in files. With a database, give it a store of your own: docs/history.md of
// holdline.
const store = fileStore(join(data, 'transcripts'))
const transcripts = createTranscripts({ protocol: chat, log, store, initial: EMPTY, reduce, breakOff })
const uploads = createUploads(settings)
const { server, runs } = createChat({ ...settings, login, sessions, transcripts, uploads })
const app = createRoutes({ login, sessions, transcripts, uploads, server })

// In development Vite has the page, and hands on what begins with `/api`.
if (!isDevelopment) {
  const root = 'dist/client'
  const page = serveStatic({ root, path: 'index.html' })
  app.use(async (c, next) => {
    await next()
    // What is in `assets` has another name when it changes.
    const caching = c.req.path.startsWith('/assets/') ? 'max-age=31536000, immutable' : 'no-cache'
    if (c.res.ok) c.header('Cache-Control', caching)
  })
  app.use('/assets/*', serveStatic({ root }))
  app.get('/', page).get('/s/:session', page)
}

const http = serve({ fetch: app.fetch, hostname: host, port }, ({ port }) =>
  console.log(`The server half is ready on http://${host}:${port}`),
) as Server

/** How long answers that are being made have to end, ms. */
const GRACE = isDevelopment ? 500 : 25_000

async function shutDown() {
  // Every page is told goodbye, and comes back to the next process.
  await server.close(isDevelopment ? { retryAfter: 500, spread: 0 } : {})
  await Promise.race([runs.idle(), delay(GRACE)])
  await transcripts.close()
  http.close(() => {
    closeLog()
    process.exit()
  })
  // When all that was said is sent.
  setTimeout(() => http.closeAllConnections(), isDevelopment ? 0 : 1_000)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void shutDown())
