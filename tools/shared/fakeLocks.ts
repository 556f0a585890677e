import type { TabLocks } from '../../src/tabs'

/** Who holds locks: a tab, as far as they are concerned. */
export interface Agent {
  readonly name: string
  task(run: () => void): void
}

interface Waiting {
  readonly tab: Agent
  readonly grant: () => void
}

/** [spec] Web Locks, as far as it is used. */
export class FakeLocks {
  readonly #held = new Map<string, { readonly tab: Agent; readonly end: (how: 'released' | 'stolen') => void }>()
  readonly #queues = new Map<string, Waiting[]>()
  /** How often each tab has stolen. */
  readonly steals: string[] = []

  of = (tab: Agent): TabLocks => ({
    request: (name, { steal, signal }, callback) =>
      new Promise((resolve, reject) => {
        if (steal && signal) return reject(new DOMException('steal and signal', 'NotSupportedError'))
        const queue = this.#queues.get(name) ?? []
        this.#queues.set(name, queue)
        const request: Waiting = {
          tab,
          grant: () => {
            const end = (how: 'released' | 'stolen') => {
              if (this.#held.get(name)?.end !== end) return
              this.#held.delete(name)
              if (how === 'stolen') tab.task(() => reject(new DOMException('stolen', 'AbortError')))
              else this.#next(name)
            }
            this.#held.set(name, { tab, end })
            tab.task(() => {
              callback({ name }).then((value) => {
                resolve(value)
                end('released')
              }, reject)
            })
          },
        }
        signal?.addEventListener('abort', () => {
          const index = queue.indexOf(request)
          if (index < 0) return
          queue.splice(index, 1)
          reject(new DOMException('aborted', 'AbortError'))
        })
        if (steal) {
          this.steals.push(tab.name)
          this.#held.get(name)?.end('stolen')
          request.grant()
        } else {
          queue.push(request)
          queueMicrotask(() => this.#next(name))
        }
      }),
  })

  /** Who holds a lock, and who waits for one, in order. */
  get holders(): readonly string[] {
    return [...this.#held.values()].map(({ tab }) => tab.name)
  }

  get waiters(): readonly string[] {
    return [...this.#queues.values()].flat().map(({ tab }) => tab.name)
  }

  get size() {
    return this.#held.size + [...this.#queues.values()].flat().length
  }

  /** Its agent is gone. */
  drop(tab: Agent) {
    for (const queue of this.#queues.values()) queue.splice(0, queue.length, ...queue.filter((one) => one.tab !== tab))
    for (const held of [...this.#held.values()]) if (held.tab === tab) held.end('released')
  }

  #next(name: string) {
    if (!this.#held.has(name)) this.#queues.get(name)?.shift()?.grant()
  }
}
