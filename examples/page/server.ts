import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { serve } from '@hono/node-server'
import { CommandRejected, createChatServer, memoryLog } from 'holdline/server'
import { fileStore } from 'holdline/server/node'
import { createRuns, type RunsOf } from 'holdline/server/runs'
import { createTranscripts } from 'holdline/server/transcripts'
import { type Context, Hono } from 'hono'
import { deleteCookie, getSignedCookie, setSignedCookie } from 'hono/cookie'
import { breakOff, chat, initial, reduce } from './shared'

const { SECRET = 'set one', PORT = '3000', DATA = 'data' } = process.env
const transcripts = createTranscripts({
  protocol: chat,
  log: memoryLog(),
  store: fileStore(DATA),
  initial,
  reduce,
  breakOff,
})

const server = createChatServer({
  protocol: chat,
  log: transcripts.log,
  // A page behind Vite's proxy learns of a killed server by its silence: after two of them.
  heartbeat: 2_000,
  // Whose path it is: the guard below has compared it with the cookie.
  authenticate: ({ url }) => ({ id: new URL(url).pathname.split('/')[3] as string }),
  authorize: (user, sessionId) => sessionId === user.id,
  async onCommand(call) {
    if (call.type === 'stop') return { run: await runs.stop(call.message.sessionId, call.message.run) }
    const { sessionId, prompt } = call.message
    // The page has this word as `error.reason`.
    if (prompt.length > 2_000) throw new CommandRejected(400, 'too-long')
    const receipt = await runs.start(call, (signal) => answer(prompt, signal), {
      prompt: { type: 'prompt', id: call.idempotencyKey, text: prompt },
    })
    // Once the page has the receipt, the prompt is kept, whatever becomes of this process.
    await transcripts.read(sessionId)
    return receipt
  },
})
const runs: RunsOf<typeof chat> = createRuns({ server, onBusy: 'queue' })

/** Yours: the model. */
async function* answer(prompt: string, signal: AbortSignal) {
  for (const text of `This is a simulated answer to “${prompt}”, one word after the other.`.split(/(?<= )/)) {
    await delay(200, undefined, { signal })
    yield { type: 'token', text } as const
  }
}

const ended = new Set<string>()
async function loginOf(c: Context) {
  const login = await getSignedCookie(c, SECRET, 'login')
  return login && !ended.has(login) ? { login, user: login.split(':')[0] as string } : null
}

const app = new Hono()
app.get('/api/me', async (c) => c.json({ user: (await loginOf(c))?.user ?? null }))
app.post('/api/login', async (c) => {
  const { user } = await c.req.json()
  // Yours: compare the password.
  if (!['ann', 'ben'].includes(user)) return c.json({ error: 'login' }, 401)
  await setSignedCookie(c, 'login', `${user}:${randomUUID()}`, SECRET, { httpOnly: true, sameSite: 'Strict' })
  return c.json({ user })
})
app.post('/api/logout', async (c) => {
  const own = await loginOf(c)
  deleteCookie(c, 'login')
  if (!own) return c.json({})
  // Also for who has kept a copy of the cookie.
  ended.add(own.login)
  // Its pages are cut off, and stop for want of a login.
  await server.revoke(own.user)
  return c.json({})
})
app.use('/api/users/:user/*', async (c, next) =>
  (await loginOf(c))?.user === c.req.param('user') ? next() : c.json({ error: 'unauthorized' }, 401),
)
app.get('/api/users/:user/history', async (c) => c.json(await transcripts.read(c.req.param('user'))))
app.all('/api/users/:user/chat/*', (c) => server.fetch(c.req.raw))

serve({ fetch: app.fetch, port: Number(PORT) }, () => console.log('ready'))
