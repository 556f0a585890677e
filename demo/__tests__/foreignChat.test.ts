import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { createConnection } from 'holdline'
import { expect, test } from 'vitest'
import { createChat } from '../../examples/servers/express/server'
import { chosenServer } from '../chosenServer'
import { createDemo } from '../createDemo'
import { listen } from '../listen'

/** A server that is not ours, and the demo before it. */
async function startDemo() {
  const chat = createChat()
  const server = createServer(express().use('/api/chat', chat.router)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/chat`
  const demo = await createDemo({
    awayMs: 0,
    startServer: () => ({ url: Promise.resolve(url), close: async () => {} }),
  })
  const site = await listen({ fetch: demo.fetch, port: 0 })
  return {
    url: `${site.url}api/chat`,
    /** Of a visitor. */
    async cookie() {
      const page = await fetch(site.url)
      await page.text()
      return page.headers.get('set-cookie')?.split(';')[0] ?? ''
    },
    async end() {
      await demo.close()
      await site.close()
      chat.close()
      server.closeAllConnections()
      server.close()
    },
    async endServer() {
      chat.close()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

test('the requests of a page go to the server that was chosen, as those of their visitor', async () => {
  const demo = await startDemo()
  const [ann, bob] = [await demo.cookie(), await demo.cookie()].map((cookie) => {
    const connection = createConnection({ url: demo.url, headers: { cookie } })
    const heard: string[] = []
    connection.on('message', ({ type, text }) => heard.push(`${type} ${text}`))
    connection.connect()
    return { connection, heard }
  })
  if (!ann || !bob) return expect.unreachable()
  const said = await ann.connection.send({ type: 'send', sessionId: 's1', prompt: 'hi' }, { id: 'one' }).settled
  expect(said).toMatchObject({ status: 'accepted', receipt: { taken: true } })
  await expect.poll(() => ann.heard).toEqual(['prompt hi', 'answer You said: hi'])
  const foreign = await bob.connection.send({ type: 'send', sessionId: 's1', prompt: 'hi' }).settled
  expect(foreign).toMatchObject({ status: 'rejected', error: { code: 'forbidden' } })
  for (const { connection } of [ann, bob]) connection.dispose()
  await demo.end()
})

test('nobody without a cookie gets a line, and a server that does not answer is told as 503', async () => {
  const demo = await startDemo()
  const ask = async (headers: HeadersInit) => (await fetch(`${demo.url}/events?ask`, { headers })).status
  const cookie = await demo.cookie()
  expect([await ask({}), await ask({ cookie })]).toEqual([401, 200])
  await demo.endServer()
  expect(await ask({ cookie })).toBe(503)
  await demo.end()
})

test('--server names a base URL or python; anything else is refused, and told what there is', async () => {
  expect(chosenServer([])).toBeUndefined()
  const start = chosenServer(['--server', 'http://127.0.0.1:8000/api/chat/'])
  expect(await start?.().url).toBe('http://127.0.0.1:8000/api/chat')
  for (const args of [
    ['--server', 'ruby'],
    ['--server', 'ftp://host/chat'],
    ['--sever', 'python'],
  ])
    expect(() => chosenServer(args)).toThrow('npm start -- [--server python]')
})
