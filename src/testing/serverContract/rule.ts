import type { Feature } from '../../protocol'
import type { ServerCase, ServerTopic, ServerVerdict } from './case'
import { Check } from './check'
import { Fault, NotPromised, Skipped } from './fault'

export interface RuleSetup {
  /** What the welcome has to announce. Default: nothing, so the rule is every server's. */
  readonly needs?: readonly Feature[]
  /** Default: `must`. */
  readonly level?: ServerCase['level']
}

/** The rules of one topic, each with its number and what it says. */
export const rulesOf =
  (topic: ServerTopic) =>
  (
    number: string,
    says: string,
    use: (check: Check) => Promise<unknown>,
    { needs = [], level = 'must' }: RuleSetup = {},
  ): ServerCase => ({
    number,
    topic,
    level,
    title: `${number}: ${says}`,
    async run(options, broken = new Set()): Promise<ServerVerdict> {
      const check = new Check(options, needs, broken)
      try {
        await use(check)
        return { outcome: 'passed' }
      } catch (error) {
        if (error instanceof NotPromised) return { outcome: 'notPromised', why: error.message }
        if (error instanceof Skipped) return { outcome: 'skipped', why: error.message }
        if (!(error instanceof Fault)) throw error
        throw new Error(`${error.message}. ${number} says: ${says} (docs/protocol.md#${number.toLowerCase()})`)
      } finally {
        check.close()
      }
    },
  })
