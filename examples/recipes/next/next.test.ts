import { createConnection } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { afterAll, expect, test } from 'vitest'
import { type ChatEvent, createChat, type Prompt } from '../chat'
import { GET, POST } from './route'
import { chat as server } from './server'

afterAll(() => server.close())

test('the route and the page fit together: a prompt becomes a bubble, and its answer the next one', async () => {
  const connection = createConnection<ChatEvent, Prompt>({
    url: 'http://localhost/api/chat',
    transport: fetchStreamTransport,
    fetch: (url, init) => {
      const request = new Request(url, init)
      return request.method === 'GET' ? GET(request) : POST(request)
    },
  })
  const chat = createChat(connection, 's1')
  connection.connect()
  expect(await chat.say('hi').settled).toMatchObject({ status: 'accepted', receipt: { taken: true } })
  await expect
    .poll(() => chat.getSnapshot().map(({ from, text }) => [from, text]))
    .toEqual([
      ['me', 'hi'],
      ['agent', 'echo of hi'],
    ])
  connection.dispose()
})
