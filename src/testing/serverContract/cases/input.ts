import { newId } from '../../../protocol'
import { rulesOf } from '../rule'
import { sleep } from '../values'

const rule = rulesOf('input')

export const input = [
  rule('P22', 'a body that is no JSON object is refused with a status that is not to be repeated', async (check) => {
    const conversation = await check.conversation(0)
    const { line, place } = conversation
    for (const endpoint of ['reconnect', check.endpoint])
      for (const body of ['', '{', '[]', 'null', '"text"'])
        (await line.post(endpoint, body, { key: newId() })).expectFinalRefusal()
    const headers = { 'Content-Type': 'text/plain' }
    ;(await line.post(check.endpoint, check.message(place), { key: newId(), headers })).expectFinalRefusal(
      'it is text/plain',
    )
    await check.expectTalks(conversation, 0)
  }),

  rule('P30', 'a POST of `{}` without `X-Connection-ID` does nothing, and is refused', async (check) => {
    const line = await check.open()
    for (const endpoint of [check.endpoint, 'reconnect']) {
      const answer = await line.post(endpoint, {}, { connectionId: null })
      answer.expect(answer.status >= 400 && answer.status < 500, '4xx (without X-Connection-ID)')
    }
  }),

  rule('P39', 'JSON that is nested too deep is answered 400, and harms nothing', async (check) => {
    const { line, place } = await check.conversation(0)
    const depth = 10_000
    const deep = `${'['.repeat(depth)}${']'.repeat(depth)}`
    const body = `{"deep":${deep},${JSON.stringify(check.message(place)).slice(1)}`
    const answer = await line.post(check.endpoint, body, { key: newId() })
    answer.expect(answer.status === 400 || answer.isAccepted, '400, or 2xx')
    await check.resume(line, [place])
  }),

  rule('P40', 'a body that stalls on its way does not hold up the messages behind it', async (check) => {
    const { line, place } = await check.conversation(0)
    const staller = await check.open()
    staller.stall(check.endpoint)
    // When its begin has arrived cannot be known from here, so it is given some time to do so.
    for (let talks = 1; talks <= 5; talks += 1) {
      await sleep(20)
      await check.talk(line, place)
      await check.hears(line, place, talks * check.events)
    }
  }),

  rule(
    'P41',
    'a body that is refused is read before the answer, so that the answer arrives',
    async (check) => {
      const { line, place } = await check.conversation(0)
      const message = { ...check.message(place), padding: 'x'.repeat(1_048_576) }
      const answer = await line.post(check.endpoint, message, { key: newId() })
      answer.expect(answer.isAccepted || answer.isFinalRefusal, '413')
    },
    { level: 'should' },
  ),
]
