import { act, render } from '@testing-library/react'
import { type Connection, type ConnectionError, createConnection } from 'holdline'
import { HoldlineProvider } from 'holdline/react'
import { createHarness, type Environment, type HarnessOptions } from 'holdline/testing'
import { type ReactNode, StrictMode } from 'react'
import { vi } from 'vitest'

export type ReactWorld = ReturnType<typeof createReactWorld>

/** Components under StrictMode, on a harness. The page's own timers are fake, and stand still. */
export function createReactWorld(options: HarnessOptions = {}) {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  vi.stubGlobal('requestAnimationFrame', undefined)
  const errors: ConnectionError[] = []
  let environment!: Environment
  const create = options.create ?? ((environment: Environment) => createConnection(environment))
  const harness = createHarness({
    ...options,
    create(own, storage) {
      environment = own
      return create(own, storage) as Connection
    },
  })
  harness.connection.on('error', ({ error }) => errors.push(error))
  const inside = (children: ReactNode, connection: Connection) => (
    <StrictMode>
      <HoldlineProvider connection={connection}>{children}</HoldlineProvider>
    </StrictMode>
  )
  return {
    harness,
    errors,
    /** For more connections in this world. */
    environment,
    inside,
    async mount(children: ReactNode, connection = harness.connection) {
      const result = render(inside(children, connection))
      await settle()
      return { ...result, page: result.container, show: (next: ReactNode) => result.rerender(inside(next, connection)) }
    },
    passes: (ms: number) =>
      act(async () => {
        await harness.passes(ms)
        vi.advanceTimersByTime(ms)
      }),
    /** Everything that can happen at once has happened, and a frame has shown it. */
    settles: settle,
    say: (text: string, id = 's1') =>
      act(async () => {
        for (const letter of text) harness.server.publish(id, { type: 'token', text: letter })
      }),
    postsTo: (endpoint: string) => harness.posts.filter((post) => post.endpoint === endpoint),
    live: () => harness.streams.filter(({ isClosed }) => !isClosed).length,
  }

  function settle() {
    return act(async () => {
      await harness.settles()
      vi.advanceTimersByTime(16)
      await harness.settles()
    })
  }
}
