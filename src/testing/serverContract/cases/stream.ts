import { malformedField } from '../../../protocol'
import { quoted } from '../json'
import { rulesOf } from '../rule'

const rule = rulesOf('stream')

export const stream = [
  rule('P1', '`GET {url}/events` is answered 200 with `Content-Type: text/event-stream`', (check) => check.stream()),

  rule(
    'P2',
    'a stream has `Cache-Control: no-cache, no-transform` and `X-Accel-Buffering: no`, and is not compressed',
    async (check) => {
      const { headers } = (await check.stream()).response
      const wrong = [
        ...(['no-cache', 'no-transform'].every((name) => headers.get('cache-control')?.toLowerCase().includes(name))
          ? []
          : ['cache-control']),
        ...(headers.get('x-accel-buffering') === 'no' ? [] : ['x-accel-buffering']),
        ...((headers.get('content-encoding') ?? 'identity') === 'identity' ? [] : ['content-encoding']),
      ]
      check.expect(wrong.length === 0, wrong.map((name) => `${name} is ${headers.get(name) ?? 'absent'}`).join(', '))
    },
    { level: 'should' },
  ),

  rule('P3', 'a frame leaves at once, and waits for no other', async (check) => {
    const { line, place, events } = await check.conversation(1)
    for (let more = 1; more <= 3; more += 1) {
      await check.talk(line, place)
      await check.hears(line, place, events.length + more * check.events)
    }
  }),

  rule(
    'P5',
    '`GET {url}/events?ask` is answered as a stream would be, opens none, and has an empty body',
    async (check) => {
      await check.stream()
      const { response } = await check.get(check.headersOf('first'), '?ask')
      check.expect(response.status === 200, `was answered ${response.status}, and a stream 200`)
      const end = new Promise<'late'>((resolve) => setTimeout(resolve, check.wire.timeout, 'late'))
      const part = await Promise.race([response.body?.getReader().read() ?? { done: true }, end])
      check.expect(part !== 'late', 'the answer has no end')
      check.expect(part !== 'late' && part.done === true, 'the answer has a body')
    },
    { level: 'should' },
  ),

  rule(
    'P13',
    'all that follows the welcome are unnamed frames, each with one JSON object as its data',
    async (check) => {
      const { line } = await check.conversation(2)
      await check.settles(line)
      for (const { name, data, json } of line.frames.slice(1)) {
        check.expect(name === undefined, `a frame is named ${name}: ${quoted(data)}`)
        check.expect(json !== undefined, `a frame has ${quoted(data)}, and no JSON object`)
        const field = malformedField(json ?? {})
        check.expect(field === undefined, `\`${field}\` is not of its type in ${quoted(json)}`)
      }
    },
  ),
]
