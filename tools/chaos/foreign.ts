import { randomUUID } from 'node:crypto'
import { type Feature, isText, parseVerdicts } from '../../src/protocol'
import { Check } from '../../src/testing/serverContract/check'
import type { Scenario } from './scenario'
import type { ChaosServer } from './server'

/** A server that is not ours. A `send` whose `prompt` is a text makes an event with that text. */
export interface Foreign {
  /** The base URL. */
  readonly url: string
  readonly features: readonly Feature[]
}

const headersOf = (user: string) => ({ authorization: `Bearer ${user}` })
const asks = (url: string, user: string) =>
  new Check({ url, headers: headersOf(user), timeout: 20_000 }, [], new Set<string>())

/** Finds out what it announces. */
export async function findForeign(url: string): Promise<Foreign> {
  const check = asks(url, 'chaos')
  const line = await check.open()
  const { features } = line.welcome
  check.close()
  return { url, features: Array.isArray(features) ? features : [] }
}

/** The prompt of a message, by which its event is known again. */
export const promptOf = (n: number) => `#${n}`
const numberIn = (event: object) =>
  Object.values(event).flatMap((value) => (isText(value) && /^#\d+$/.test(value) ? [Number(value.slice(1))] : []))[0]

/** What a foreign server has done is read from its log, past the line that the dice harm. */
export async function startForeign(
  { url }: Foreign,
  scenario: Scenario,
  refuses: (n: unknown) => boolean,
): Promise<ChaosServer> {
  const user = `chaos-${randomUUID()}`
  const check = asks(url, user)
  const line = await check.open()
  const cursors = scenario.sessionIds.map((sessionId) => ({ sessionId, lastSeq: 0 }))
  return {
    url,
    surprises: [],
    refuses,
    token: () => headersOf(user).authorization,
    changeToken() {},
    async publish(sessionId) {
      const message = { type: 'send', sessionId, prompt: 'said by another one' }
      ;(await line.post('send', message, { key: randomUUID() })).expectAccepted()
    },
    async history() {
      const reader = await check.open()
      const verdicts = parseVerdicts((await check.resume(reader, cursors)).json)
      const told = await Promise.all(
        cursors.map(async (cursor) => {
          const to = verdicts.find(({ sessionId }) => sessionId === cursor.sessionId)?.to ?? 0
          return check.hears(reader, cursor, to)
        }),
      )
      reader.close()
      return {
        applied: told.flat().flatMap((event) => numberIn(event) ?? []),
        published: Object.fromEntries(told.map((events, index) => [cursors[index]?.sessionId, events.length])),
      }
    },
    async close() {
      check.close()
    },
  }
}
