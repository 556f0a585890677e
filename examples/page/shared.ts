import type { InboundOf, Protocol } from 'holdline/protocol'

export const chat: Protocol<{
  up: { send: { sessionId: string; prompt: string }; stop: { sessionId: string; run: string } }
  down: { prompt: { id: string; text: string }; token: { text: string } }
}> = {}

export type Entry = {
  readonly id: string
  readonly from: 'me' | 'agent'
  readonly text: string
  readonly state?: string
}
export type Entries = readonly Entry[]

export const initial: Entries = []

/** The page reduces what it hears with it, the server what is in its log. */
export function reduce(entries: Entries, event: InboundOf<typeof chat>): Entries {
  if (event.type === 'prompt') return [...entries, { id: event.id, from: 'me', text: event.text }]
  if (event.type === 'run.started') return [...entries, { id: event.run, from: 'agent', text: '', state: 'running' }]
  if (event.type === 'token')
    return entries.map((entry) => (entry.state === 'running' ? { ...entry, text: entry.text + event.text } : entry))
  if (event.type === 'run.ended')
    return entries.map((entry) => (entry.id === event.run ? { ...entry, state: event.reason } : entry))
  return entries
}

/** Of an answer that was under way nothing more will come. */
export const breakOff = (entries: Entries): Entries =>
  entries.map((entry) => (entry.state === 'running' ? { ...entry, state: 'interrupted' } : entry))

/** What the server refuses with, in words. */
export const REASONS: Readonly<Record<string, string>> = { 'too-long': 'At most 2,000 characters.' }
