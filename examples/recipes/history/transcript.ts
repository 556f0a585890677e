import type { InboundOf, Protocol } from 'holdline/protocol'

/** What the page sends, and what it hears beside the events of runs. */
export const chat: Protocol<{
  up: { send: { sessionId: string; prompt: string } }
  down: { prompt: { text: string }; token: { text: string } }
}> = {}

export interface Bubble {
  readonly from: 'me' | 'agent'
  readonly text: string
  /** The run that says it. */
  readonly run?: string
  readonly state?: 'running' | 'finished' | 'stopped' | 'failed' | 'interrupted'
}
export type Bubbles = readonly Bubble[]

export const initial: Bubbles = []

/** The page reduces what it hears with it, the server what is in its log. */
export function reduce(bubbles: Bubbles, event: InboundOf<typeof chat>): Bubbles {
  switch (event.type) {
    case 'prompt':
      return [...bubbles, { from: 'me', text: event.text }]
    case 'run.started':
      return [...bubbles, { from: 'agent', text: '', run: event.run, state: 'running' }]
    case 'token':
      return bubbles.map((bubble) =>
        bubble.state === 'running' ? { ...bubble, text: bubble.text + event.text } : bubble,
      )
    case 'run.ended':
      return bubbles.map((bubble) => (bubble.run === event.run ? { ...bubble, state: event.reason } : bubble))
    default:
      return bubbles
  }
}

/** Of an answer that was under way nothing more will come. */
export const breakOff = (bubbles: Bubbles): Bubbles =>
  bubbles.map((bubble) => (bubble.state === 'running' ? { ...bubble, state: 'interrupted' } : bubble))
