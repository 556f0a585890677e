import { type JsonObject, newId } from '../../../protocol'
import { isFinalRefusal } from '../answer'
import type { Check, Conversation } from '../check'
import { isSame, quoted } from '../json'
import { rulesOf } from '../rule'

const rule = rulesOf('batch')
const needs = ['batch'] as const

interface Element {
  readonly id: string
  readonly endpoint: string
  readonly lane?: string
  readonly body: unknown
}

/** As a client makes it: to a server with lanes each message names its own. */
function elementOf(check: Check, { line, place }: Conversation, element: Partial<Element> = {}): Element {
  const lane = line.has('lanes') ? { lane: place.sessionId } : {}
  return { id: newId(), endpoint: check.endpoint, body: check.message(place), ...lane, ...element }
}

/** The results of a batch, by their ids. */
async function resultsOf({ line }: Conversation, messages: readonly Element[]) {
  const answer = await line.post('batch', { messages })
  const { results } = answer.json
  answer.expect(answer.status === 200 && Array.isArray(results), '200 {"results":[…]}')
  const list: readonly JsonObject[] = (results as readonly unknown[]).map(Object)
  return { answer, list, byId: (id: string) => list.find((result) => result.id === id) }
}

export const batch = [
  rule(
    'P75',
    'a message of a batch is the POST of its body under its id: posted again alone, it is a repeat',
    async (check) => {
      const conversation = await check.conversation(0)
      const element = elementOf(check, conversation)
      const { answer, byId } = await resultsOf(conversation, [element])
      const result = byId(element.id)
      answer.expect(result?.status === 200, 'a result 200')
      const { line } = conversation
      const again = await line.post(check.endpoint, element.body, { key: element.id })
      again.expect(
        again.isAccepted && isSame(again.receipt, result?.receipt),
        `2xx with the receipt of the batch (${quoted(result)})`,
      )
      const reused = await line.post(check.endpoint, check.message(conversation.place), { key: element.id })
      reused.expect(reused.status === 409, '409, as the id was used for something else')
      await check.expectTalks(conversation, 1)
    },
    { needs: ['batch', 'idempotency'] },
  ),

  rule(
    'P76',
    'in a batch the result is 400 for an endpoint that the server itself acts on, and for one that it does not know',
    async (check) => {
      const conversation = await check.conversation(0)
      const { sessionId } = conversation.place
      const own = [
        elementOf(check, conversation, { endpoint: 'watch', body: { type: 'watch', sessionId, lastSeq: 0 } }),
        elementOf(check, conversation, { endpoint: 'reconnect', body: { type: 'reconnect', sessions: [] } }),
        elementOf(check, conversation, { endpoint: 'check-unknown', body: { type: 'check-unknown' } }),
      ]
      const good = elementOf(check, conversation)
      const { answer, byId } = await resultsOf(conversation, [...own, good])
      for (const { id, endpoint } of own)
        answer.expect(byId(id)?.status === 400, `400 for the message to ${endpoint}, ${id}`)
      answer.expect(byId(good.id)?.status === 200, `200 for the one after them, ${good.id}`)
    },
    { needs },
  ),

  rule(
    'P77',
    'the messages of a batch run one after the other, in their order',
    async (check) => {
      const conversation = await check.conversation(0)
      const texts = ['first', 'second', 'third'].map((text) => `check ${text} ${newId().slice(0, 8)}`)
      const bodies = texts.map((text) => check.message(conversation.place, text))
      await resultsOf(
        conversation,
        bodies.map((body) => elementOf(check, conversation, { body })),
      )
      await check.expectOrder(conversation, texts)
    },
    { needs },
  ),

  rule(
    'P78',
    'a batch has one result for each message; one that is rejected does not stop the rest',
    async (check) => {
      const conversation = await check.conversation(0)
      const bad = elementOf(check, conversation, { body: [] })
      const messages = [elementOf(check, conversation), bad, elementOf(check, conversation)]
      const { answer, list, byId } = await resultsOf(conversation, messages)
      for (const { id } of messages) {
        const status = Number(byId(id)?.status)
        const wanted = id === bad.id ? 'a 4xx' : '200'
        answer.expect(id === bad.id ? isFinalRefusal(status) : status === 200, `${wanted} for the message ${id}`)
      }
      answer.expect(list.length === messages.length, `${messages.length} results`)
      await check.expectTalks(conversation, 2)
    },
    { needs },
  ),

  rule(
    'P82',
    'a batch that is wrong as a whole is refused as a whole, and nothing of it is run',
    async (check) => {
      const conversation = await check.conversation(0)
      const good = () => elementOf(check, conversation)
      const twin = good()
      const wrong: readonly unknown[] = [
        good(),
        [],
        Array.from({ length: 51 }, good),
        [good(), { ...good(), id: undefined }],
        [good(), { ...good(), id: 'i'.repeat(256) }],
        [twin, { ...good(), id: twin.id }],
      ]
      for (const messages of wrong) (await conversation.line.post('batch', { messages })).expectFinalRefusal()
      await check.expectTalks(conversation, 0)
    },
    { needs },
  ),
]
