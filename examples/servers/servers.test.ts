import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import express from 'express'
import { describe, expect, test, vi } from 'vitest'
import { type ForeignServer, testForeignServer } from '../../tools/shared/foreignServer'
import { freePort } from '../../tools/shared/freePort'
import { createChat } from './express/server'

async function start(): Promise<ForeignServer> {
  const port = await freePort()
  let chat = createChat()
  let server: Server
  async function up() {
    chat = createChat()
    server = createServer(express().use('/api/chat', chat.router)).listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  async function stop() {
    chat.close()
    server.close()
    await vi.waitUntil(() => isLeft(server), { timeout: 20_000 })
  }
  await up()
  return {
    port,
    stop,
    async restart() {
      await stop()
      await up()
    },
  }
}

/** Every answer has been read to its end. */
function isLeft(server: Server) {
  server.closeIdleConnections()
  return new Promise<boolean>((resolve) => server.getConnections((_, count) => resolve(count === 0)))
}

describe('examples/servers/express', () => {
  testForeignServer(start, { keepsLog: false })

  test('nothing that a client sends ends it: what is deep, large or of the wrong kind is a 4xx', async () => {
    const server = await start()
    const url = `http://127.0.0.1:${server.port}/api/chat`
    const headers = { Authorization: 'Bearer eve', 'Content-Type': 'application/json' }
    const stream = await fetch(`${url}/events`, { headers })
    const reader = stream.body?.getReader()
    const welcome = new TextDecoder().decode((await reader?.read())?.value)
    const [, connectionId = ''] = /"connectionId":"([^"]+)"/.exec(welcome) ?? []
    const post = async (endpoint: string, body: string) => {
      const answer = await fetch(`${url}/${endpoint}`, {
        method: 'POST',
        headers: { ...headers, 'X-Connection-ID': connectionId },
        body,
      })
      await answer.text()
      return answer.status
    }
    const deep = '['.repeat(10_000) + ']'.repeat(10_000)
    expect([
      await post('send', `{"type":"send","sessionId":"e","prompt":${deep}}`),
      await post('probe', `{"type":"probe","nonce":${deep}}`),
      await post('reconnect', `{"type":"reconnect","resumeId":${deep},"sessions":[{"sessionId":${deep}}]}`),
      await post('watch', `{"type":"watch","sessionId":{"toString":1},"lastSeq":0}`),
      await post('send', `{"type":"send","sessionId":"e","prompt":"${'x'.repeat(100_000)}"}`),
      await post('send', 'null'),
      await post('__proto__', '{"type":"__proto__"}'),
      await post('probe', '{"type":"probe","nonce":"n"}'),
    ]).toEqual([400, 200, 200, 403, 413, 400, 400, 200])
    await reader?.cancel()
    await server.stop()
  })
})
