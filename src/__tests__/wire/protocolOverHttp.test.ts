import { createConnection } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { defineProtocol } from 'holdline/protocol'
import { createChatServer } from 'holdline/server'
import { createRuns, type RunsOf } from 'holdline/server/runs'
import * as v from 'valibot'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { listen } from '../../../tools/shared/listen'
import { listenForSockets } from '../support/gateway'

const SOON = { timeout: 20_000, interval: 5 }
/** A command that the page's protocol still knows otherwise. */
const rate = { old: z.object({ stars: z.string() }), now: z.object({ stars: z.string().max(1) }) }
const down = {
  token: v.object({
    text: v.string(),
    at: v.pipe(
      v.number(),
      v.transform((ms) => new Date(ms)),
    ),
  }),
}
const receipts = { send: z.looseObject({ run: z.string() }) }
const page = defineProtocol({ up: { send: z.object({ prompt: z.string() }), rate: rate.old }, down, receipts })
const chat = defineProtocol({ up: { send: z.object({ prompt: z.string() }), rate: rate.now }, down, receipts })

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const TRANSPORTS = {
  EventSource: {},
  'a fetch stream': { transport: fetchStreamTransport },
  WebSocket: { transport: webSocketTransport({ WebSocket }) },
}

async function start(name: keyof typeof TRANSPORTS) {
  const server = createChatServer({
    protocol: chat,
    allowedHosts: 'any',
    authenticate: () => ({ id: 'me' }),
    authorize: () => true,
    onError() {},
    onCommand: (call) => {
      if (call.type === 'rate') return null
      const { prompt } = call.message
      return runs.start(call, async function* () {
        yield { type: 'token', text: prompt, at: 0 }
      })
    },
  })
  const runs: RunsOf<typeof chat> = createRuns({ server })
  const host = await (name === 'WebSocket' ? listenForSockets(server.fetch) : listen(server.fetch))
  const connection = createConnection({ url: host.url, pageLifecycle: false, protocol: page, ...TRANSPORTS[name] })
  cleanups.push(
    () => host.close(),
    () => server.close(),
    () => connection.dispose(),
  )
  const errors: string[] = []
  connection.on('error', ({ error }) => errors.push(error.code))
  connection.connect()
  await vi.waitFor(() => expect(connection.phase).toBe('open'), SOON)
  return { connection, errors }
}

describe.each(Object.keys(TRANSPORTS) as (keyof typeof TRANSPORTS)[])('over %s', (name) => {
  test('a prompt, its receipt and its run come through as both sides’ schemas say', async () => {
    const { connection, errors } = await start(name)
    const heard: unknown[] = []
    connection.on('message', (message) => heard.push(message.type === 'token' ? message.at : message.type))
    const verdict = await connection.send({ type: 'send', sessionId: 's1', prompt: 'hi' }).settled
    expect(verdict).toMatchObject({ status: 'accepted', receipt: { run: expect.any(String), state: 'running' } })
    await vi.waitFor(() => expect(heard).toEqual(['run.started', new Date(0), 'run.ended']), SOON)
    expect(errors).toEqual([])
  })

  test('what fits the page’s protocol and not the server’s is rejected by the server, and nothing is repeated', async () => {
    const { connection } = await start(name)
    const verdict = await connection.send({ type: 'rate', sessionId: 's1', stars: 'many' }).settled
    expect(verdict).toMatchObject({ status: 'rejected', attempts: 1, error: { code: 'http', status: 400 } })
    if (verdict.status === 'rejected') expect(verdict.error.message).toContain('bad-message')
  })
})
