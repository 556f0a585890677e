import type { Phase } from 'holdline'
import type { Mishap } from '../events'
import type { Fact, StepName } from './tour'

export interface GuideHandlers {
  phase(): Phase
  connect(): void
  send(prompt: string): void
  /** Resolves with whether it has happened. */
  cause(mishap: Mishap): Promise<boolean>
  showTrace(): void
}

/** Enough of an answer to see that it is cut. */
const SOME_TOKENS = 25

/** Does the steps of the tour as a user would, one after the other, when the time has come. */
export function createGuide({ phase, connect, send, cause, showTrace }: GuideHandlers) {
  const waiting = new Set<(fact: Fact) => void>()

  /** Resolves with the first fact that is meant, after which whoever waits looks on. */
  const next = (isMeant: (fact: Fact) => boolean) =>
    new Promise<void>((resolve) => {
      const look = (fact: Fact) => {
        if (!isMeant(fact)) return
        waiting.delete(look)
        resolve()
      }
      waiting.add(look)
    })

  async function tokens(count: number) {
    let heard = 0
    await next(({ type }) => {
      heard += type === 'token' ? 1 : 0
      return heard >= count
    })
  }

  async function loseLine() {
    if (phase() !== 'open') return
    const lost = next((fact) => fact.type === 'phase' && fact.phase !== 'open')
    if (await cause('drop')) await lost
  }

  const wake = () => phase() === 'idle' && connect()

  const steps: Record<StepName, () => Promise<unknown>> = {
    async cut() {
      wake()
      send('Tell me a long story')
      await tokens(SOME_TOKENS)
      await loseLine()
    },
    async write() {
      await loseLine()
      send('A short one, written while the line was down')
      wake()
    },
    async restart() {
      wake()
      await cause('restart')
    },
    trace: async () => showTrace(),
  }

  return {
    perform: (step: StepName) => steps[step](),
    tell(fact: Fact) {
      for (const look of waiting) look(fact)
    },
  }
}
