import { createConnection } from 'holdline'
import { HoldlineProvider, useSession } from 'holdline/react'
import { createElement, Profiler, useState } from 'react'
import { createRoot } from 'react-dom/client'

// A page with four sessions that stream tokens, and a field to type in.

export interface Measured {
  /** Frames that the browser has drawn. */
  readonly frames: number
  /** How often React has rendered the most often rendered session. */
  readonly commits: number
  /** The tokens that each session shows. */
  readonly shown: readonly number[]
  readonly ms: number
}

const SESSIONS = ['s1', 's2', 's3', 's4']
const commits = new Map<string, number>()
let frames = 0
const count = () => {
  frames++
  requestAnimationFrame(count)
}
requestAnimationFrame(count)

const reduce = (text: string, event: { readonly text?: unknown }) => text + String(event.text)

function Transcript({ id }: { id: string }) {
  const { state } = useSession(id, { initial: '', reduce })
  return createElement('p', { id }, state)
}

function Page() {
  const [draft, setDraft] = useState('')
  return [
    createElement('input', {
      key: 'draft',
      value: draft,
      onChange: (event: { target: { value: string } }) => setDraft(event.target.value),
    }),
    ...SESSIONS.map((id) =>
      createElement(
        Profiler,
        { key: id, id, onRender: () => commits.set(id, (commits.get(id) ?? 0) + 1) },
        createElement(Transcript, { id }),
      ),
    ),
  ]
}

const shown = () => SESSIONS.map((id) => document.getElementById(id)?.textContent?.split(' ').length ?? 0)

let since = { frames: 0, commits: new Map<string, number>(), shown: [0, 0, 0, 0], at: 0 }
Object.assign(globalThis, {
  begins() {
    since = { frames, commits: new Map(commits), shown: shown(), at: performance.now() }
  },
  measures: (): Measured => ({
    frames: frames - since.frames,
    commits: Math.max(...SESSIONS.map((id) => (commits.get(id) ?? 0) - (since.commits.get(id) ?? 0))),
    shown: shown().map((now, index) => now - (since.shown[index] ?? 0)),
    ms: performance.now() - since.at,
  }),
})

const connection = createConnection({ url: '/api/chat' })
const root = createRoot(document.body.appendChild(document.createElement('main')))
root.render(createElement(HoldlineProvider, { connection }, createElement(Page)))
