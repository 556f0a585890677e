import { type Feature, isText, newId } from '../../../protocol'
import type { Answer } from '../answer'
import type { Check } from '../check'
import { rulesOf } from '../rule'
import type { Place, ServerLine } from '../serverLine'

const rule = rulesOf('refusals')

/**
 * A message to each endpoint that the library posts to by itself, as far as a server has to have
 * it.
 */
function ownMessages(
  line: ServerLine,
  { sessionId }: Place,
): readonly (readonly [endpoint: string, message: object])[] {
  const where = (feature: Feature, endpoint: string, message: object) =>
    line.has(feature) ? [[endpoint, message] as const] : []
  const lane = line.has('lanes') ? { lane: sessionId } : {}
  return [
    ['reconnect', { type: 'reconnect', resumeId: newId(), sessions: [{ sessionId, lastSeq: 0 }] }],
    ...where('watch-replay', 'watch', { type: 'watch', sessionId, lastSeq: 0 }),
    ...where('probe', 'probe', { type: 'probe', nonce: newId() }),
    ...where('batch', 'batch', { messages: [{ id: newId(), endpoint: 'check-unknown', ...lane, body: {} }] }),
    ['unwatch', { type: 'unwatch', sessionId }],
    ['suspend', { type: 'session_suspend', sessions: [], connectionId: line.connectionId, resumeId: null }],
  ]
}

/** Answers of all kinds. */
async function answersOf(check: Check): Promise<readonly Answer[]> {
  const line = await check.open()
  const place = await check.place()
  const resumed = await check.resume(line, [place])
  return [
    resumed,
    (await check.talk(line, place)).answer,
    await line.post('check-unknown', { type: 'check-unknown' }),
    await line.post(check.endpoint, '{', { key: newId() }),
    await line.post('reconnect', { type: 'reconnect', resumeId: newId(), sessions: [] }, { connectionId: newId() }),
  ]
}

export const refusals = [
  rule('P36', 'a request without a valid credential is answered 401, the stream and each POST alike', async (check) => {
    check.needed(check.options.headers, 'headers', '--header, --cookie')
    const line = await check.open()
    const { response } = await check.get(check.headersOf('nobody'))
    check.expect(response.status === 401, `was answered ${response.status} without \`headers\`, not 401`)
    for (const endpoint of ['reconnect', check.endpoint]) {
      const answer = await line.post(endpoint, { type: endpoint, sessions: [] }, { key: newId(), credentials: {} })
      answer.expect(answer.status === 401, '401 (it was sent without `headers`)')
    }
  }),

  rule('P37', 'a message for a session of somebody else is answered 403, and is not applied', async (check) => {
    check.headersOf('second')
    const conversation = await check.conversation(1)
    const other = await check.open('second')
    const answer = await other.post(check.endpoint, check.message(conversation.place), { key: newId() })
    answer.expect(answer.status === 403, '403 (it is of the second user)')
    await check.expectTalks(conversation, 1)
  }),

  rule(
    'P33',
    'nothing but an unknown stream is answered 404: an endpoint is there, or is refused with another 4xx',
    async (check) => {
      const line = await check.open()
      const place = await check.place()
      await check.resume(line, [place])
      await check.talk(line, place)
      for (const [endpoint, message] of ownMessages(line, place)) {
        const answer = await line.post(endpoint, message)
        // A server may have no use for these two.
        const isRefused = ['unwatch', 'suspend'].includes(endpoint) && answer.isFinalRefusal
        const wanted = `2xx: there is no endpoint \`${endpoint}\`, or it has not understood`
        answer.expect(answer.isAccepted || isRefused, wanted)
      }
      const unknown = await line.post('check-unknown', { type: 'check-unknown', sessionId: place.sessionId })
      unknown.expect(unknown.isFinalRefusal, '400: the client takes 404 for the end of its stream')
    },
  ),

  rule(
    'P29',
    'a POST is not redirected',
    async (check) => {
      for (const answer of await answersOf(check)) {
        const isRedirected = answer.status >= 300 && answer.status < 400
        answer.expect(!isRedirected, `2xx or 4xx: it leads to ${answer.headers.get('location')}`)
      }
    },
    { level: 'should' },
  ),

  rule('P31', 'an answer of `application/json` has JSON in it', async (check) => {
    for (const answer of await answersOf(check)) {
      const isEmpty = answer.status === 204 || answer.headers.get('content-length') === '0'
      answer.expect(!answer.isJson || answer.isBody || isEmpty, 'JSON, as its `Content-Type` says')
    }
  }),

  rule(
    'P38',
    'the body of a refusal is the JSON `{"error": code, …}`',
    async (check) => {
      for (const answer of await answersOf(check))
        answer.expect(answer.isAccepted || isText(answer.json.error), '{"error":…}')
    },
    { level: 'should' },
  ),
]

const streamsRule = rulesOf('streams')

export const streams = [
  streamsRule('P34', 'a POST to a stream that is not known is answered 404', async (check) => {
    const line = await check.open()
    const place = await check.place()
    await check.resume(line, [place])
    for (const [endpoint, message] of [...ownMessages(line, place), [check.endpoint, check.message(place)] as const]) {
      const connectionId = newId()
      const unknown = endpoint === 'suspend' ? { ...message, connectionId } : message
      const answer = await line.post(endpoint, unknown, { connectionId, key: newId() })
      // A client reads 410 as 404, if that is the answer to a resume.
      const isRight = answer.status === 404 || (endpoint === 'reconnect' && answer.status === 410)
      answer.expect(isRight, '404 (its X-Connection-ID is that of no stream)')
    }
  }),

  streamsRule(
    'P35',
    'the answer to a POST for an unknown stream is the JSON `{"error":"unknown-stream"}`',
    async (check) => {
      const line = await check.open()
      const message = { type: 'reconnect', resumeId: newId(), sessions: [] }
      const answer = await line.post('reconnect', message, { connectionId: newId() })
      answer.expect(answer.json.error === 'unknown-stream', '{"error":"unknown-stream"}')
    },
    { level: 'should' },
  ),

  streamsRule(
    'P8',
    'a POST that names the stream of somebody else is answered as if there were none',
    async (check) => {
      check.headersOf('second')
      const line = await check.open()
      const place = await check.place()
      await check.resume(line, [place])
      const other = await check.open('second')
      for (const [endpoint, message] of ownMessages(line, place)) {
        if (endpoint === 'suspend') continue
        const [foreign, unknown] = [
          await other.post(endpoint, message, { connectionId: line.connectionId }),
          await other.post(endpoint, message, { connectionId: newId() }),
        ]
        const isAlike = foreign.status === 404 && foreign.text === unknown.text
        foreign.expect(isAlike, `404 ${unknown.text}, as for an unknown stream (it is of the first user)`)
      }
      check.expect(
        line.frames.every(({ json }) => json?.type !== 'probe'),
        'the probe of the second user reached the first one',
      )
    },
  ),
]
