import { newId } from '../../../protocol'
import { quoted } from '../json'
import { rulesOf } from '../rule'
import { newText } from '../values'

const rule = rulesOf('order')

export const order = [
  rule('P25', 'messages of one lane are applied in the order in which they came', async (check) => {
    const conversation = await check.conversation(0)
    const { line, place } = conversation
    const lane = line.has('lanes') ? { lane: place.sessionId } : {}
    const texts: string[] = []
    for (let n = 0; n < 5; n += 1) texts.push((await check.talk(line, place, lane)).text)
    await check.expectOrder(conversation, texts)
  }),

  rule(
    'P24',
    'the name of a lane has 0 to 256 characters, none of them a control character; another one is refused with 400',
    async (check) => {
      const conversation = await check.conversation(0)
      const { line, place } = conversation
      for (const lane of ['l'.repeat(257), 'a bell \u0007']) {
        const answer = await line.post(check.endpoint, check.message(place, newText()), { key: newId(), lane })
        answer.expect(answer.status === 400, `400 (\`X-Lane: ${quoted(encodeURIComponent(lane))}\`)`)
      }
      for (const lane of ['', 'grüße 👋'.repeat(20)]) await check.talk(line, place, { lane })
      await check.expectTalks(conversation, 2)
    },
    { needs: ['lanes'] },
  ),
]
