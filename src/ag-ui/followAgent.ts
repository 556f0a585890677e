import { shareFollow } from '../threads/shareFollow'
import type { HoldlineAgent } from './holdlineAgent'
import type { RunNews } from './run'

/**
 * Shows the runs of an agent's thread that began elsewhere: in another tab, on another device, by
 * the server. A run that is under way is shown from its first event, so `connectAgent()` is needed
 * for the history alone. It is the thread that the agent has now.
 *
 * @returns ends it
 */
export function followAgent(agent: HoldlineAgent): () => void {
  return shareFollow(agent, agent.threadId, () => begin(agent))
}

function begin(agent: HoldlineAgent): () => void {
  const waiting: RunNews[] = []
  let state: 'idle' | 'showing' | 'ended' = 'idle'
  const offRuns = agent.onRun((news) => {
    waiting.push(news)
    void show()
  })
  // One that the app has asked for comes first.
  const { unsubscribe } = agent.subscribe({ onRunFinalized: () => void setTimeout(show) })

  async function show() {
    for (let news = waiting[0]; news && state === 'idle' && !agent.isRunning; news = waiting[0]) {
      waiting.shift()
      state = 'showing'
      // The agent's subscribers are told of a failure.
      await agent.show(news).catch(() => {})
      if (state === 'showing') state = 'idle'
    }
  }

  return () => {
    state = 'ended'
    unsubscribe()
    offRuns()
  }
}
