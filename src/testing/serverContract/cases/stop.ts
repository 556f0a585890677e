import { newId } from '../../../protocol'
import { isSame } from '../json'
import { rulesOf } from '../rule'

const rule = rulesOf('idempotency')

export const stop = [
  rule(
    'P67',
    'a message that a `stop` has named before it began is answered 409 `cancelled`, and is not applied',
    async (check) => {
      const conversation = await check.conversation(0)
      const { line, place } = conversation
      const key = newId()
      const stopped = await line.post(
        'stop',
        { type: 'stop', sessionId: place.sessionId, cancels: [key] },
        { key: newId() },
      )
      stopped.expect(stopped.isAccepted || stopped.isFinalRefusal, '2xx')
      const late = await line.post(check.endpoint, check.message(place), { key })
      late.expect(late.status === 409 && late.json.error === 'cancelled', '409 {"error":"cancelled"}')
      await check.expectTalks(conversation, 0)
    },
    { needs: ['cancels'] },
  ),

  rule(
    'P68',
    'a message that was applied before the `stop` that names it is answered as it was',
    async (check) => {
      const conversation = await check.conversation(0)
      const { line, place } = conversation
      const { key, message, answer } = await check.talk(line, place)
      await line.post('stop', { type: 'stop', sessionId: place.sessionId, cancels: [key] }, { key: newId() })
      const again = await line.post(check.endpoint, message, { key })
      again.expect(again.status === answer.status && isSame(again.json, answer.json), `as at first (${answer.text})`)
    },
    { needs: ['cancels', 'idempotency'] },
  ),
]
