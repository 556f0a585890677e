import { describe, expect, test } from 'vitest'
import { acked, createSockets } from '../support/gateway'
import { answer, createTestServer, openStream, watchedLog } from '../support/server'

/**
 * JSON can say half a character, and UTF-8 cannot: whatever stores or forwards it as UTF-8 makes
 * another one of it.
 */
const LONE = ['\ud800', '\udfff', 'room\ud83d']

function createWatchedServer() {
  const ran: unknown[] = []
  const { log, calls } = watchedLog()
  const { server, errors, clock } = createTestServer({ log, onCommand: ({ type }) => ran.push(type) })
  /** The server has run nothing, asked its log nothing, and has not failed. */
  const isUntouched = () => expect([ran, calls, errors]).toEqual([[], [], []])
  return { server, clock, isUntouched }
}

const sessionRefusal = { error: 'bad-request', message: 'sessionId must match ^[A-Za-z0-9_-]{1,128}$' }
const laneRefusal = { error: 'bad-request', message: expect.stringMatching(/^lane must be .*lone surrogate/) }
const send = (id: string, sessionId: string) => ({ id, endpoint: 'send', body: { type: 'send', sessionId } })

describe.each(LONE)('a lone surrogate, %j, is a 400 that names the field, and nothing is kept of it:', (lone) => {
  test('as the session of a POST', async () => {
    const { server, isUntouched } = createWatchedServer()
    const stream = await openStream(server)
    for (const type of ['send', 'stop']) {
      const body = { type, sessionId: lone }
      expect(await answer(stream.post(type, body, { key: `k-${type}` }))).toEqual([400, sessionRefusal])
    }
    isUntouched()
  })

  test('as the session of an unwatch; a resume and a watch call it forbidden, and fail no other', async () => {
    const { server, isUntouched } = createWatchedServer()
    const stream = await openStream(server)
    const unwatching = stream.post('unwatch', { type: 'unwatch', sessionId: lone })
    expect(await answer(unwatching)).toEqual([400, sessionRefusal])
    const watching = stream.post('watch', { type: 'watch', sessionId: lone, lastSeq: 0 })
    expect(await answer(watching)).toEqual([403, { error: 'forbidden' }])
    const sessions = [{ sessionId: lone, lastSeq: 0 }]
    const forbidden = { sessionId: lone, status: 'forbidden', from: 0, to: 0 }
    const resuming = stream.post('reconnect', { type: 'reconnect', sessions })
    expect(await answer(resuming)).toEqual([200, { ok: true, sessions: [forbidden] }])
    isUntouched()
  })

  test('as the lane of a POST, whose header cannot say it', async () => {
    const { server, isUntouched } = createWatchedServer()
    const stream = await openStream(server)
    // What TextEncoder would make of it is U+FFFD; this is what other encoders make of it.
    const code = lone.charCodeAt(lone.length - 1)
    const bytes = [0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)]
    const header = bytes.map((byte) => `%${byte.toString(16)}`).join('')
    const posting = stream.post('send', { type: 'send', sessionId: 'room' }, { headers: { 'X-Lane': header } })
    const message = expect.stringMatching(/^X-Lane, URL-decoded: lane must be .*lone surrogate/)
    expect(await answer(posting)).toEqual([400, { error: 'bad-request', message }])
    isUntouched()
  })

  test('as a session and as a lane in a batch', async () => {
    const { server, isUntouched } = createWatchedServer()
    const stream = await openStream(server)
    const messages = [send('a', lone), { ...send('b', 'room'), lane: lone }]
    const results = [
      { id: 'a', status: 400, ...sessionRefusal },
      { id: 'b', status: 400, ...laneRefusal },
    ]
    expect(await answer(stream.post('batch', { messages }))).toEqual([200, { results }])
    isUntouched()
  })

  test('as a session and as a lane over a WebSocket, in a frame and in a batch', async () => {
    const { server, clock, isUntouched } = createWatchedServer()
    const socket = await createSockets({ fetch: server.fetch, clock }).opens()
    // As JSON a text is well-formed: the surrogate is an escape in it, as it is on the wire.
    socket.hears(JSON.stringify(send('a', lone)))
    socket.hears(JSON.stringify({ ...send('b', 'room'), lane: lone }))
    const messages = [send('c', lone), { ...send('d', 'room'), lane: lone }]
    socket.hears(JSON.stringify({ id: 'batch', endpoint: 'batch', body: { messages } }))
    await acked(socket, 3)
    const acks = new Map(socket.acks.map((ack) => [ack.id, ack]))
    expect(acks.get('a')).toMatchObject({ status: 400, ...sessionRefusal })
    expect(acks.get('b')).toMatchObject({ status: 400, ...laneRefusal })
    const results = [
      { id: 'c', status: 400, ...sessionRefusal },
      { id: 'd', status: 400, ...laneRefusal },
    ]
    expect(acks.get('batch')).toMatchObject({ status: 200, receipt: { results } })
    expect(socket.closed).toBeUndefined()
    isUntouched()
  })
})
