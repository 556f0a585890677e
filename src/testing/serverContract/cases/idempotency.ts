import { newId } from '../../../protocol'
import { isSame, quoted } from '../json'
import { rulesOf } from '../rule'

const rule = rulesOf('idempotency')
const needs = ['idempotency'] as const

export const idempotency = [
  rule(
    'P85',
    'a message is applied once per `Idempotency-Key`, and each repeat gets the same answer',
    async (check) => {
      const conversation = await check.conversation(0)
      const { line, place } = conversation
      const { key, message, answer } = await check.talk(line, place)
      await check.hears(line, place, check.events)
      const other = await check.open()
      const late = newId()
      const repeats = [
        await line.post(check.endpoint, message, { key }),
        await other.post(check.endpoint, message, { key }),
      ]
      for (const repeat of repeats)
        repeat.expect(
          repeat.status === answer.status && isSame(repeat.json, answer.json),
          `as at first (${answer.text})`,
        )
      const twin = check.message(place)
      const twins = await Promise.all([0, 1].map(() => line.post(check.endpoint, twin, { key: late })))
      for (const twin of twins) twin.expectAccepted()
      await check.expectTalks(conversation, 2)
    },
    { needs },
  ),

  rule(
    'P86',
    'an `Idempotency-Key` that comes again with another payload is answered 409',
    async (check) => {
      const conversation = await check.conversation(0)
      const { line, place } = conversation
      const { key } = await check.talk(line, place)
      const answer = await line.post(check.endpoint, check.message(place), { key })
      answer.expect(answer.status === 409, '409')
      await check.expectTalks(conversation, 1)
    },
    { needs },
  ),

  rule(
    'P49',
    'an `Idempotency-Key` that has not 1 to 255 visible ASCII characters is refused',
    async (check) => {
      const conversation = await check.conversation(0)
      const { line, place } = conversation
      for (const key of ['k'.repeat(256), 'not one word'])
        (await line.post(check.endpoint, check.message(place), { key })).expectFinalRefusal(
          `its \`Idempotency-Key\` is ${quoted(key)}`,
        )
      await check.expectTalks(conversation, 0)
    },
    { needs },
  ),

  rulesOf('receipts')(
    'P84',
    'every 2xx to a message has a JSON body',
    async (check) => {
      const { line, place } = await check.conversation(0)
      const { answer } = await check.talk(line, place)
      const isReceipt = answer.isJson && answer.isBody
      answer.expect(isReceipt, `2xx with JSON (${answer.headers.get('content-type') ?? 'no type'})`)
    },
    { needs: ['receipts'] },
  ),
]
