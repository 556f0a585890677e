import { readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { createAdaptorServer } from '@hono/node-server'
import { Redis } from 'ioredis'
import { type Stack, World } from './world'

/** Serves the page of a stack, its script (`PAGE`) and its routes on `PORT`. Ends with SIGKILL. */
export function serve(stack: Stack) {
  const { PORT = '', PAGE = '', REDIS_URL = '' } = process.env
  const script = readFileSync(PAGE, 'utf8')
  const world = new World(new Redis(REDIS_URL), REDIS_URL)
  const routes = stack(world)
  const server = createAdaptorServer({
    async fetch(request) {
      const { pathname, searchParams } = new URL(request.url)
      if (pathname.startsWith('/api/')) return routes.fetch(request)
      if (pathname === '/page.js') return new Response(script, { headers: { 'Content-Type': 'text/javascript' } })
      if (pathname !== '/') return new Response(null, { status: 404 })
      const { messages } = await world.readChat(searchParams.get('chat') ?? '')
      return new Response(pageOf(messages), { headers: { 'Content-Type': 'text/html' } })
    },
  }) as Server
  server.listen(Number(PORT), '127.0.0.1', () => console.log('ready'))
}

/** With the history of the chat in it, as a server component gives it. */
const pageOf = (history: readonly unknown[]) => `<!doctype html><meta charset="utf-8"><title>chat</title>
<div id="root"></div>
<script type="application/json" id="history">${JSON.stringify(history).replaceAll('<', '\\u003c')}</script>
<script type="module" src="/page.js"></script>`
