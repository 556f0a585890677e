import { FakeLocks } from '../../../tools/shared/fakeLocks'
import type { ChannelLike, TabEnvironment } from '../../tabs/tab'

/** By which tabs in one process know of each other. */
export function createTabs() {
  const locks = new FakeLocks()
  const ends = new Set<{ readonly name: string; hear(data: unknown): void }>()

  function openChannel(name: string): ChannelLike {
    const listeners: ((event: { readonly data: unknown }) => void)[] = []
    const end = {
      name,
      hear: (data: unknown) => {
        for (const listener of listeners) listener({ data })
      },
    }
    ends.add(end)
    return {
      addEventListener: (_, listener) => void listeners.push(listener),
      close: () => void ends.delete(end),
      postMessage(message) {
        const data = structuredClone(message)
        for (const other of ends)
          if (other !== end && other.name === name) queueMicrotask(() => ends.has(other) && other.hear(data))
      },
    }
  }

  /** Of one tab, which is visible. */
  return (name: string): TabEnvironment => {
    const document = Object.assign(new EventTarget(), { visibilityState: 'visible' })
    const scope = { document } as unknown as TabEnvironment['scope']
    return { locks: locks.of({ name, task: (run) => run() }), openChannel, scope }
  }
}
