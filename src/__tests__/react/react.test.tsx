// @vitest-environment happy-dom
import { act, cleanup, renderHook } from '@testing-library/react'
import { type Connection, type ConnectionOptions, createConnection, type Delivery } from 'holdline'
import type { Protocol } from 'holdline/protocol'
import * as holdline from 'holdline/react'
import {
  createHooks,
  HoldlineProvider,
  useConnection,
  useConnectionStatus,
  useDelivery,
  useHoldline,
  useLineStatus,
  useOwnMessages,
  usePending,
  useSend,
  useSession,
  useSessionSuspense,
} from 'holdline/react'
import { persist } from 'holdline/storage'
import { createSharedConnection } from 'holdline/tabs'
import { sendFails, streamFails, watchInvariants } from 'holdline/testing'
import * as React from 'react'
import { Component, type ReactNode, StrictMode, Suspense, useState, useSyncExternalStore } from 'react'
import { hydrateRoot } from 'react-dom/client'
import { renderToReadableStream, renderToString } from 'react-dom/server.browser'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createLoads, lineText, ownText, reduce, refusesAsBusy, TRANSCRIPT } from '../sessions/world'
import { createTabs } from '../support/tabs'
import { createReactWorld, type ReactWorld } from './world'

const { Activity }: Partial<typeof React> = React

let world: ReactWorld
beforeEach(() => {
  world = createReactWorld()
})
afterEach(() => {
  cleanup()
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

const Transcript = ({ id = 's1', ...own }: { id?: string | null } & Partial<typeof TRANSCRIPT> & object) => {
  const { state, status } = useSession(id, { ...TRANSCRIPT, ...own })
  return <p>{`${status}: ${state}`}</p>
}
const paragraphs = (page: Element) => [...page.querySelectorAll('p')].map(({ textContent }) => textContent)

describe('HoldlineProvider', () => {
  test('C44: under StrictMode the line is made once, and never cut', async () => {
    const oracle = watchInvariants(world.harness)
    const { unmount } = await world.mount(<Transcript />)
    expect(world.harness.connection.phase).toBe('open')
    expect(world.harness.streams).toHaveLength(1)
    expect(world.harness.told.some(({ name }) => name === 'closed')).toBe(false)
    unmount()
    await world.settles()
    expect(world.harness.connection.phase).toBe('idle')
    expect(world.live()).toBe(0)
    oracle.check()
  })

  test('two providers of one connection hold it together', async () => {
    const { connection } = world.harness
    const { show } = await world.mount(
      <HoldlineProvider connection={connection}>
        <Transcript />
      </HoldlineProvider>,
    )
    show(<Transcript />)
    await world.settles()
    expect(connection.phase).toBe('open')
    expect(world.harness.streams).toHaveLength(1)
  })

  test('a line that has stopped is not started by one more component', async () => {
    world.harness.server.behaves({ post: (post) => post.answers(401) })
    world.harness.connection.on('stopped', () => {})
    world.harness.connection.watch('s1')
    const { show } = await world.mount(null)
    expect(world.harness.connection.lastError?.code).toBe('unauthorized')
    show(<HoldlineProvider connection={world.harness.connection} />)
    await world.settles()
    expect(world.harness.connection.phase).toBe('idle')
  })

  test('without one a hook says so', () => {
    vi.spyOn(console, 'error').mockImplementation(() => {})
    expect(() => renderHook(() => useConnection())).toThrow('HoldlineProvider')
    vi.restoreAllMocks()
  })

  test('useConnection is the connection itself, and useSend its `send`', async () => {
    const { result } = renderHook(() => [useConnection(), useSend()] as const, {
      wrapper: ({ children }) => world.inside(children, world.harness.connection),
    })
    expect(result.current[0]).toBe(world.harness.connection)
    expect(result.current[1]).toBe(world.harness.connection.send)
  })
})

describe('useConnectionStatus', () => {
  test('renders when what it selects has changed, and for nothing else', async () => {
    const rendered: string[] = []
    const Phase = () => {
      const phase = useConnectionStatus(({ phase }) => phase)
      rendered.push(phase)
      return <p>{phase}</p>
    }
    const Whole = () => <p>{useConnectionStatus().phase}</p>
    const { page } = await world.mount([<Phase key="1" />, <Whole key="2" />])
    expect(paragraphs(page)).toEqual(['open', 'open'])
    rendered.length = 0
    // The queue changes, the phase does not.
    await act(async () => void world.harness.connection.send({ type: 'send', sessionId: 's1' }))
    await world.settles()
    expect(rendered).toEqual([])
    await act(async () => world.harness.stream.fails())
    expect(paragraphs(page)).toEqual(['backoff', 'backoff'])
  })

  test('a selector reads what its render reads', async () => {
    const Is = ({ wanted }: { wanted: string }) => <p>{`${useConnectionStatus(({ phase }) => phase === wanted)}`}</p>
    const { page, show } = await world.mount(<Is wanted="idle" />)
    expect(paragraphs(page)).toEqual(['false'])
    show(<Is wanted="open" />)
    expect(paragraphs(page)).toEqual(['true'])
  })

  test('a selector may return a new object each time', async () => {
    const Part = () => {
      const { phase } = useConnectionStatus(({ phase }) => ({ phase }))
      return <p>{phase}</p>
    }
    const { page } = await world.mount(<Part />)
    expect(paragraphs(page)).toEqual(['open'])
  })
})

describe('useSession', () => {
  test('the options are those of the render that asks for the session, for each session', async () => {
    const shown: string[] = []
    const Chat = ({ id }: { id: string }) => {
      const load = async () => ({ state: `history of ${id}`, cursor: 0 })
      const { state } = useSession(id, { ...TRANSCRIPT, initial: `begin of ${id}`, load })
      shown.push(`${id}: ${state}`)
      return <p>{state}</p>
    }
    const { page, show } = await world.mount(<Chat id="s1" />)
    expect(paragraphs(page)).toEqual(['history of s1'])
    show(<Chat id="s2" />)
    await world.settles()
    expect(paragraphs(page)).toEqual(['history of s2'])
    expect(new Set(shown)).toEqual(
      new Set(['s1: begin of s1', 's1: history of s1', 's2: begin of s2', 's2: history of s2']),
    )
  })

  test('components of one session show the same, and reduce each event once', async () => {
    const spy = vi.fn(reduce)
    const { page } = await world.mount([<Transcript key="1" reduce={spy} />, <Transcript key="2" reduce={spy} />])
    await world.say('ab')
    await world.settles()
    expect(paragraphs(page)).toEqual(['live: ab', 'live: ab'])
    expect(spy).toHaveBeenCalledTimes(2)
  })

  test('C44: StrictMode, and a component that is mounted anew, change nothing on the wire', async () => {
    const { page, show } = await world.mount(<Transcript key="1" />)
    await world.say('a')
    show(<Transcript key="2" />)
    await world.settles()
    show(null)
    await world.settles()
    await world.say('b')
    show(<Transcript key="3" />)
    await world.settles()
    expect(paragraphs(page)).toEqual(['live: ab'])
    expect(world.harness.posts.map(({ endpoint }) => endpoint)).toEqual(['reconnect'])
    expect(world.errors).toEqual([])
  })

  test('after `keepFor` the session is left', async () => {
    const { show } = await world.mount(<Transcript />)
    show(null)
    await world.passes(300_000)
    expect(world.harness.connection.cursors).toEqual([])
    expect(world.postsTo('unwatch')).toHaveLength(1)
  })

  test('a burst of tokens renders once per frame', async () => {
    const seen: string[] = []
    const Spy = () => {
      seen.push(useSession('s1', TRANSCRIPT).state)
      return null
    }
    await world.mount(<Spy />)
    seen.length = 0
    await world.say('abcdefgh')
    expect(seen).toEqual([])
    await world.settles()
    // StrictMode renders twice.
    expect(seen).toEqual(['abcdefgh', 'abcdefgh'])
  })

  test('another id shows another session; `null` none', async () => {
    const { page, show } = await world.mount(<Transcript id="s1" />)
    await world.say('one', 's1')
    await world.say('two', 's2')
    show(<Transcript id="s2" />)
    await world.settles()
    expect(paragraphs(page)).toEqual(['live: two'])
    show(<Transcript id={null} />)
    await world.settles()
    expect(paragraphs(page)).toEqual(['loading: '])
    show(<Transcript id="s1" />)
    expect(paragraphs(page)).toEqual(['live: one'])
  })

  test('an inline reducer is the one that was given last when the session was used first', async () => {
    const Inline = ({ mark }: { mark: string }) => {
      const { state } = useSession('s1', { initial: '', reduce: (said, { text }) => said + mark + text })
      return <p>{state}</p>
    }
    const { page, show } = await world.mount(<Inline mark="-" />)
    await world.say('a')
    show(<Inline mark="+" />)
    await world.say('b')
    await world.settles()
    expect(paragraphs(page)).toEqual(['-a-b'])
    show(null)
    show(<Inline mark="+" />)
    await world.say('c')
    await world.settles()
    expect(paragraphs(page)).toEqual(['-a-b+c'])
    expect(world.errors).toEqual([])
  })

  test('StrictMode loads once; the error of a load is shown until one succeeds', async () => {
    const loads = createLoads()
    const Loaded = () => {
      const { state, status, error } = useSession('s1', { ...TRANSCRIPT, load: loads.load })
      return <p>{`${status}: ${state} ${error ?? ''}`}</p>
    }
    const { page } = await world.mount(<Loaded />)
    expect(loads.all).toHaveLength(1)
    loads.last.fails('no database')
    await world.settles()
    expect(paragraphs(page)).toEqual(['loading:  no database'])
    await world.passes(1_000)
    expect(loads.all).toHaveLength(2)
    loads.last.answers('abc', 0)
    await world.settles()
    expect(paragraphs(page)).toEqual(['live: abc '])
  })

  test('a transcript does not begin in the middle after a reload that kept the cursors', async () => {
    world = createReactWorld({
      create: (environment, storage) =>
        createConnection({ ...environment, storage: persist(storage, { key: 'react', cursors: true }) }),
    })
    await world.mount(<Transcript />)
    await world.say('abc')
    vi.spyOn(console, 'warn').mockImplementation(() => {})
    world.harness.reloads()
    const { page } = await world.mount(<Transcript />)
    await world.say('d')
    await world.settles()
    expect(paragraphs(page)).toEqual(['live: abcd'])
    expect(world.harness.told).toContainEqual(
      expect.objectContaining({ event: { error: expect.objectContaining({ code: 'no-state' }) } }),
    )
    vi.restoreAllMocks()
  })
})

class Boundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: null as unknown }
  static getDerivedStateFromError = (error: unknown) => ({ error })
  override render() {
    if (this.state.error === null) return this.props.children
    return (
      <button type="button" onClick={() => this.setState({ error: null })}>
        {String(this.state.error)}
      </button>
    )
  }
}

describe('useSessionSuspense', () => {
  const loads = () => createLoads()
  const Suspended = ({ load, id = 's1' }: { load?: ReturnType<typeof createLoads>['load']; id?: string }) => {
    const { state, status } = useSessionSuspense(id, { ...TRANSCRIPT, load })
    return <p>{`${status}: ${state}`}</p>
  }

  test('suspends while it loads, and then shows what was loaded', async () => {
    const { load, all } = loads()
    const { page } = await world.mount(
      <Suspense fallback="wait">
        <Suspended load={load} />
      </Suspense>,
    )
    expect(page.textContent).toBe('wait')
    expect(all).toHaveLength(1)
    await act(async () => all[0]?.answers('abc', 0))
    await world.settles()
    expect(paragraphs(page)).toEqual(['live: abc'])
    await world.say('d')
    await world.settles()
    expect(paragraphs(page)).toEqual(['live: abcd'])
    expect(all).toHaveLength(1)
  })

  test('without a load it suspends until the replay is through', async () => {
    world.harness.server.publish('s1', { type: 'token', text: 'a' })
    const { page } = await world.mount(
      <Suspense fallback="wait">
        <Suspended />
      </Suspense>,
    )
    await world.settles()
    expect(paragraphs(page)).toEqual(['live: a'])
  })

  test('a load that fails reaches the error boundary; whoever renders it again loads again', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => {})
    const { load, all } = loads()
    const { page, getByRole } = await world.mount(
      <Boundary>
        <Suspense fallback="wait">
          <Suspended load={load} />
        </Suspense>
      </Boundary>,
    )
    await act(async () => all[0]?.fails('no database'))
    await world.settles()
    expect(page.textContent).toBe('no database')
    await world.settles()
    expect(all).toHaveLength(1)
    await act(async () => getByRole('button').click())
    expect(page.textContent).toBe('wait')
    await world.settles()
    expect(all).toHaveLength(2)
    await act(async () => all[1]?.answers('abc', 0))
    await world.settles()
    expect(paragraphs(page)).toEqual(['live: abc'])
    vi.restoreAllMocks()
  })

  test('a reducer that throws does not reach the boundary: the line skips the event, and says so', async () => {
    const errors: string[] = []
    world.harness.connection.on('error', ({ error }) => errors.push(error.code))
    const Picky = () => {
      const { state } = useSession('s1', { initial: '', reduce: pick })
      return <p>{state}</p>
    }
    const { page } = await world.mount(
      <Boundary>
        <Picky />
      </Boundary>,
    )
    await world.say('abc')
    await world.passes(2_000)
    expect(paragraphs(page)).toEqual(['ac'])
    expect(errors).toContain('poison-message')
  })

  test('what suspended and never came is let go', async () => {
    const { load } = loads()
    const { show } = await world.mount(
      <Suspense fallback="wait">
        <Suspended load={load} />
      </Suspense>,
    )
    show(null)
    await world.passes(300_000)
    expect(world.harness.connection.cursors).toEqual([])
  })
})

const pick = (said: string, { text }: { text?: unknown }) => {
  if (text === 'b') throw new Error('no b')
  return said + String(text)
}

describe('deliveries', () => {
  test('usePending: what waits, with its status, of one session or of all', async () => {
    const List = ({ of }: { of?: string }) => (
      <p>
        {usePending(of)
          .map(({ status }) => status)
          .join(' ')}
      </p>
    )
    const { page, show } = await world.mount([<List key="1" />, <List key="2" of="s2" />])
    await act(async () => world.harness.stream.fails())
    await act(async () => {
      for (const sessionId of ['s1', 's2']) world.harness.connection.send({ type: 'send', sessionId })
    })
    expect(paragraphs(page)).toEqual(['queued queued', 'queued'])
    show([<List key="1" of="s3" />, <List key="2" />])
    expect(paragraphs(page)).toEqual(['', 'queued queued'])
    await act(() => world.harness.reaches('open'))
    await world.settles()
    expect(paragraphs(page)).toEqual(['', ''])
  })

  test('a view of a delivery is another one when it has changed, for those who compare', async () => {
    const { result } = renderHook(() => usePending(), {
      wrapper: ({ children }) => world.inside(children, world.harness.connection),
    })
    await world.settles()
    await act(async () => world.harness.stream.fails())
    await act(async () => void world.harness.connection.send({ type: 'send', sessionId: 's1' }))
    const [first] = result.current
    expect(first).toMatchObject({ status: 'queued', attempts: 0, error: null })
    world.harness.server.behaves(sendFails({ status: 503, times: 1 }))
    await act(() => world.harness.reaches('open'))
    const [second] = result.current
    expect(second).not.toBe(first)
    expect(second).toMatchObject({ status: 'queued', attempts: 1, error: { status: 503 } })
  })

  test('useDelivery: by what `send` returned, or by its id; the verdict stays', async () => {
    const One = () => {
      const send = useSend()
      const [delivery, setDelivery] = useState<ReturnType<typeof send> | null>(null)
      const own = useDelivery(delivery)
      const same = useDelivery(delivery?.id ?? null)
      return (
        <button type="button" onClick={() => setDelivery(send({ type: 'send', sessionId: 's1' }))}>
          {`${own?.status} ${same?.status}`}
        </button>
      )
    }
    const { page, getByRole } = await world.mount(<One />)
    expect(page.textContent).toBe('undefined undefined')
    await act(async () => getByRole('button').click())
    await world.settles()
    expect(page.textContent).toBe('accepted accepted')
    expect(world.harness.server.commands).toHaveLength(1)
  })
})

describe('useLineStatus', () => {
  const Banner = () => <p>{lineText(useLineStatus())}</p>

  test('a stream that is open while POSTs fail is not online: whole seconds to the next try, then online', async () => {
    const { page } = await world.mount(<Banner />)
    expect(paragraphs(page)).toEqual(['online'])
    world.harness.server.behaves(sendFails({ status: 429, retryAfter: 3, times: 1 }))
    await act(async () => void world.harness.connection.send({ type: 'send', sessionId: 's1' }))
    await world.settles()
    expect(world.harness.connection.phase).toBe('open')
    const first = secondsIn(page)
    expect(first).toBeGreaterThanOrEqual(3)
    await world.passes(1_000)
    expect(secondsIn(page)).toBe(first - 1)
    await world.passes(10_000)
    expect(paragraphs(page)).toEqual(['online'])
  })

  test('it is that of the connection that is provided now', async () => {
    const Host = ({ connection }: { connection: Connection }) => (
      <HoldlineProvider connection={connection}>
        <Banner />
      </HoldlineProvider>
    )
    const [first, second] = [createConnection(world.environment), createConnection(world.environment)]
    const { page, show } = await world.mount(<Host connection={first} />)
    show(<Host connection={second} />)
    await world.settles()
    expect([first.phase, second.phase]).toEqual(['idle', 'open'])
    expect(paragraphs(page)).toEqual(['online'])
    show(null)
    for (const connection of [first, second]) connection.dispose()
  })

  test('while what has failed is posted again, it is not online yet', async () => {
    const { page } = await world.mount(<Banner />)
    world.harness.server.behaves(sendFails({ status: 503, times: 1 }))
    await act(async () => void world.harness.connection.send({ type: 'send', sessionId: 's1' }))
    await world.settles()
    world.harness.server.behaves({ post: () => {} })
    await world.passes(2_000)
    expect(world.harness.connection.pending[0]).toMatchObject({ status: 'sending', attempts: 2 })
    expect(paragraphs(page)).toEqual(['connecting'])
  })

  test('a line that is lost is retried; one that has stopped says why; one that is ended is idle', async () => {
    const { page } = await world.mount(<Banner />)
    await act(async () => world.harness.stream.fails())
    await world.settles()
    expect(paragraphs(page)).toEqual([expect.stringMatching(/^retrying [\d.]+$/)])
    await act(() => world.harness.reaches('open'))
    await world.settles()
    world.harness.connection.on('stopped', () => {})
    world.harness.server.behaves({ post: (post) => post.answers(401) })
    await act(async () => void world.harness.connection.send({ type: 'send', sessionId: 's1' }))
    await world.settles()
    expect(paragraphs(page)).toEqual(['stopped unauthorized'])
    // Else it is posted again, and stops the line again.
    await act(async () => world.harness.connection.clearOutbox())
    await act(async () => world.harness.connection.connect())
    await act(async () => world.harness.connection.disconnect())
    await world.settles()
    expect(paragraphs(page)).toEqual(['idle'])
  })
})

const secondsIn = (page: Element) => Number(page.textContent?.split(' ').at(-1))

describe('useOwnMessages', () => {
  type Entries = readonly { readonly id: string }[]
  const Own = ({ of = 's1', shown = [], type }: { of?: string | null; shown?: Entries; type?: string }) => (
    <ul>
      {useOwnMessages(of, { shown, type }).map((own) => (
        <li key={own.id}>
          {ownText(own)}
          <button type="button" onClick={own.dismiss}>
            dismiss
          </button>
          <button type="button" onClick={() => own.repeat()}>
            repeat
          </button>
        </li>
      ))}
    </ul>
  )
  const items = (page: Element) => [...page.querySelectorAll('li')].map(({ firstChild }) => firstChild?.textContent)
  const send = (prompt: string, sessionId = 's1', id = prompt) =>
    act(async () => void world.harness.connection.send({ type: 'send', sessionId, prompt }, { id }))
  const press = (page: Element, name: string) =>
    act(async () => [...page.querySelectorAll('button')].find(({ textContent }) => textContent === name)?.click())

  test('a message is shown from `send` until the transcript has it, also between its receipt and its event', async () => {
    const { page, show } = await world.mount(<Own />)
    await act(async () => world.harness.stream.fails())
    await send('a')
    expect(items(page)).toEqual(['a queued'])
    await act(() => world.harness.reaches('open'))
    await world.settles()
    expect(items(page)).toEqual(['a accepted'])
    show(<Own shown={[{ id: 'a' }]} />)
    await world.settles()
    expect(items(page)).toEqual([])
    // It is needed no more, whatever becomes of the transcript.
    show(<Own />)
    await world.settles()
    expect(items(page)).toEqual([])
  })

  test('one that the transcript has before its receipt is shown once', async () => {
    const { page, show } = await world.mount(<Own />)
    world.harness.server.behaves({ post: () => {} })
    await send('a')
    await world.settles()
    expect(items(page)).toEqual(['a sending'])
    show(<Own shown={[{ id: 'a' }]} />)
    await world.settles()
    expect(items(page)).toEqual([])
  })

  test('only those of its session and its type; another chat and back changes nothing', async () => {
    const { page, show } = await world.mount(<Own />)
    await send('a')
    await send('b', 's2')
    const stop = { type: 'stop', sessionId: 's1', prompt: 'stop' } as const
    await act(async () => void world.harness.connection.send(stop))
    await world.settles()
    expect(items(page)).toEqual(['a accepted'])
    show(<Own type="stop" />)
    await act(async () => void world.harness.connection.send(stop))
    await world.settles()
    expect(items(page)).toEqual(['stop accepted'])
    show(<Own of="s2" />)
    await world.settles()
    expect(items(page)).toEqual(['b accepted'])
    show(<Own of={null} />)
    await world.settles()
    expect(items(page)).toEqual([])
    show(null)
    await world.settles()
    show(<Own />)
    await world.settles()
    expect(items(page)).toEqual(['a accepted'])
  })

  test('one that is refused stays, with the reason, until it is dismissed; its repeat is a new message', async () => {
    const { page } = await world.mount(<Own />)
    world.harness.server.behaves(refusesAsBusy(2))
    await send('a')
    await send('b')
    await world.settles()
    expect(items(page)).toEqual(['a rejected: busy', 'b rejected: busy'])
    await press(page, 'dismiss')
    expect(items(page)).toEqual(['b rejected: busy'])
    await press(page, 'repeat')
    await world.settles()
    expect(items(page)).toEqual(['b accepted'])
    expect(world.harness.server.commands.map(({ message }) => message.prompt)).toEqual(['b'])
    expect(world.postsTo('send').map(({ key }) => key === 'b')).toEqual([false, true, false])
  })

  test('one that is refused before it was posted is shown as well', async () => {
    const { page } = await world.mount(<Own />)
    const options = { signal: AbortSignal.abort() }
    await act(async () => void world.harness.connection.send({ type: 'send', sessionId: 's1', prompt: 'a' }, options))
    await world.settles()
    expect(items(page)).toEqual(['a rejected'])
  })

  test('of those with a verdict as many are kept as the outbox may hold, the newest', async () => {
    world = createReactWorld({
      create: (environment) => createConnection({ ...environment, outbox: { maxMessages: 2 } }),
    })
    const { page } = await world.mount(<Own />)
    world.harness.server.behaves(refusesAsBusy(3))
    for (const prompt of ['a', 'b', 'c']) {
      await send(prompt)
      await world.settles()
    }
    expect(items(page)).toEqual(['b rejected: busy', 'c rejected: busy'])
  })

  test('one that waits counts down to its next try', async () => {
    const { page } = await world.mount(<Own />)
    world.harness.server.behaves(sendFails({ status: 429, retryAfter: 3, times: 1 }))
    await send('a')
    await world.settles()
    const secondsOf = () => Number(/in (\d+)$/.exec(items(page)[0] ?? '')?.[1])
    const first = secondsOf()
    expect(first).toBeGreaterThanOrEqual(3)
    await world.passes(1_000)
    expect(secondsOf()).toBe(first - 1)
    await world.passes(10_000)
    expect(items(page)).toEqual(['a accepted'])
  })

  test('one that an earlier page has left, and that is refused before a chat is shown, is there', async () => {
    world = createReactWorld({
      create: (environment, storage) => createConnection({ ...environment, storage: persist(storage, { key: 'own' }) }),
    })
    await send('a')
    await world.harness.settles()
    world.harness.reloads()
    world.harness.server.behaves(refusesAsBusy(1))
    const { page, show } = await world.mount(null)
    await world.settles()
    show(<Own />)
    await world.settles()
    expect(items(page)).toEqual(['a rejected: busy'])
  })
})

describe('createHooks', () => {
  test('the hooks are the same; the connection is given the protocol', async () => {
    const check = vi.fn((_part: unknown, message: unknown) => message)
    const own = createHooks({ endpoints: { ask: 'ask' }, check } as never)
    const { useHoldline: _, ...same } = Object.fromEntries(
      Object.entries(holdline).filter(([name]) => name.startsWith('use')),
    )
    expect(own).toMatchObject(same)
    const { result } = renderHook(() => own.useHoldline(world.environment as never, 'typed') as never as Line)
    const delivery = result.current.send({ type: 'ask', sessionId: 's1' })
    expect(check).toHaveBeenCalledWith('up', { type: 'ask', sessionId: 's1' }, expect.any(Function))
    expect(delivery.status).toBe('queued')
  })

  test('a line of each key, made by a function of the app that is given the protocol', () => {
    const protocol: Protocol<{ up: { ask: object }; down: object }> = { endpoints: { ask: 'ask' } }
    const own = createHooks(protocol)
    const make = vi.fn((options: object) => createConnection(options as never))
    const lineOf = (key: string) => renderHook(() => own.useHoldline(world.environment, key, make)).result.current
    expect(lineOf('ann')).not.toBe(lineOf('bob'))
    expect(make).toHaveBeenCalledWith({ ...world.environment, protocol })
  })
  type Line = { send(message: object): Delivery }
})

describe('useHoldline', () => {
  const options = (user: string): ConnectionOptions => ({
    ...world.environment,
    storage: persist(localStorage, { key: user }),
  })
  const Chat = ({ user }: { user: string }) => {
    const connection = useHoldline(options(user), user)
    return (
      <HoldlineProvider connection={connection}>
        <Transcript />
      </HoldlineProvider>
    )
  }
  beforeEach(() => localStorage.clear())

  test('C44, C30: one line per user under StrictMode; the next user has another one, and the first is gone', async () => {
    vi.spyOn(console, 'warn')
    const { page, show } = await world.mount(<Chat user="ann" />)
    await world.settles()
    expect(world.live()).toBe(2)
    await world.say('a')
    await world.settles()
    expect(paragraphs(page)).toEqual(['live: a'])
    show(<Chat user="bob" />)
    await world.settles()
    expect(world.live()).toBe(2)
    expect(world.harness.streams).toHaveLength(3)
    expect(paragraphs(page)).toEqual(['live: a'])
    await world.passes(60_000)
    expect(world.live()).toBe(2)
    show(null)
    await world.settles()
    expect(world.live()).toBe(1)
    // Not "two connections use one storage key".
    expect(console.warn).not.toHaveBeenCalled()
    vi.restoreAllMocks()
  })

  test('of a shared connection: two tabs hold one line, and one that is unmounted leaves it to the other', async () => {
    const environmentOf = createTabs()
    const Tab = ({ name }: { name: string }) => {
      const connection = useHoldline(world.environment, name, (own) =>
        createSharedConnection(own, { name: 'chat', environment: environmentOf(name) }),
      )
      const { tabs } = connection
      return (
        <HoldlineProvider connection={connection}>
          <p>{useSyncExternalStore(tabs.subscribe, () => tabs.role)}</p>
          <Transcript />
        </HoldlineProvider>
      )
    }
    const { page, show } = await world.mount(<Tab key="one" name="one" />)
    await world.settles()
    show([<Tab key="one" name="one" />, <Tab key="two" name="two" />])
    for (let turns = 0; turns < 4; turns++) await world.settles()
    await world.say('a')
    await world.settles()
    expect(paragraphs(page)).toEqual(['leading', 'live: a', 'following', 'live: a'])
    // The other one is the world's own.
    expect(world.live()).toBe(2)
    show(<Tab key="two" name="two" />)
    for (let turns = 0; turns < 4; turns++) await world.settles()
    await world.say('b')
    await world.settles()
    expect(paragraphs(page)).toEqual(['leading', 'live: ab'])
    expect(world.live()).toBe(2)
    show(null)
    await world.settles()
    expect(world.live()).toBe(1)
  })

  test('what was rendered and never mounted is disposed of', async () => {
    const never = new Promise(() => {})
    const Never = () => {
      useHoldline(options('eve'), 'eve')
      throw never
    }
    vi.spyOn(console, 'warn')
    await world.mount(
      <Suspense>
        <Never />
      </Suspense>,
    )
    await world.passes(60_000)
    // Its storage key is free again.
    createConnection(options('eve')).dispose()
    expect(console.warn).not.toHaveBeenCalled()
    vi.restoreAllMocks()
  })

  // React 19.2 has it.
  test.runIf(Activity)(
    'a part of the page that is hidden has no line, and gets one when it is shown again',
    async () => {
      // One element, so that showing it again does not render it by itself.
      const chat = <Chat user="ann" />
      const { show } = await world.mount(<Activity mode="visible">{chat}</Activity>)
      await world.settles()
      show(<Activity mode="hidden">{chat}</Activity>)
      await world.settles()
      expect(world.live()).toBe(1)
      show(<Activity mode="visible">{chat}</Activity>)
      await world.settles()
      expect(world.live()).toBe(2)
    },
  )

  test('on a server it is made for this rendering only, and without the storage', () => {
    vi.stubGlobal('window', undefined)
    const storage = { open: vi.fn() }
    expect(renderToString(<One storage={storage} />)).toBe('idle')
    expect(storage.open).not.toHaveBeenCalled()
  })
  const One = ({ storage }: { storage: object }) => {
    const { phase } = useHoldline({ url: '/api/chat', storage } as ConnectionOptions, 'ann')
    return phase
  }
})

describe('on a server', () => {
  const App = ({ connection }: { connection: ReturnType<typeof createConnection> }) => (
    <HoldlineProvider connection={connection}>
      <p>{useStatic()}</p>
      <Transcript />
      <Pending />
    </HoldlineProvider>
  )
  const useStatic = () => 'chat'
  const Pending = () => {
    const own = useOwnMessages('s1', { shown: [] })
    const left = useDelivery('left')
    return (
      <p>
        {`${usePending().length} ${useLineStatus().status} ${useConnectionStatus().pendingCount}`}
        {` ${own.length} ${left?.status}`}
      </p>
    )
  }

  test('nothing is connected, watched or loaded, and the page takes over without a mismatch', async () => {
    const server = createConnection({ url: '/api/chat' })
    const html = renderToString(
      <StrictMode>
        <App connection={server} />
      </StrictMode>,
    )
    expect(html).toContain('loading: ')
    expect(server.cursors).toEqual([])
    const root = document.body.appendChild(document.createElement('div'))
    root.innerHTML = html
    // A message that an earlier page has left.
    world.harness.connection.send({ type: 'send', sessionId: 's1' }, { id: 'left' })
    // As where another root of the page has it.
    world.harness.connection.connect()
    const mismatches: unknown[] = []
    const hydrated = await act(async () =>
      hydrateRoot(
        root,
        <StrictMode>
          <App connection={world.harness.connection} />
        </StrictMode>,
        { onRecoverableError: (error) => mismatches.push(error) },
      ),
    )
    await world.settles()
    await world.say('a')
    await world.settles()
    expect(mismatches).toEqual([])
    expect(paragraphs(root)).toEqual(['chat', 'live: a', '0 online 0 1 accepted'])
    await act(async () => hydrated.unmount())
    root.remove()
  })

  test('a history that the server renders is `live` there and on the page, and goes on after its cursor', async () => {
    world.harness.server.publish('s1', { type: 'token', text: 'a' })
    world.harness.server.publish('s1', { type: 'token', text: 'b' })
    const Page = ({ history }: { history: { state: string; cursor: number } }) => {
      const { state, status } = useSessionSuspense('s1', {
        ...TRANSCRIPT,
        initial: history.state,
        cursor: history.cursor,
      })
      return <p>{`${status}: ${state}`}</p>
    }
    const html = renderToString(world.inside(<Page history={{ state: 'A', cursor: 1 }} />, world.harness.connection))
    expect(html).toBe('<p>live: A</p>')
    const { page } = await world.mount(<Page history={{ state: 'A', cursor: 1 }} />)
    expect(paragraphs(page)).toEqual(['live: Ab'])
  })

  test('useSessionSuspense leaves the fallback to the server, and loads in the browser', async () => {
    vi.stubGlobal('window', undefined)
    const load = vi.fn()
    const Part = () => <p>{useSessionSuspense('s1', { ...TRANSCRIPT, load }).state}</p>
    const failed: unknown[] = []
    const stream = await renderToReadableStream(
      world.inside(
        <Suspense fallback="wait">
          <Part />
        </Suspense>,
        world.harness.connection,
      ),
      { onError: (error) => void failed.push(error) },
    )
    const html = await new Response(stream).text()
    expect(html).toContain('wait')
    expect(load).not.toHaveBeenCalled()
    expect(String(failed)).toContain('waits for the browser')
  })
})

test('a failed first connect is no error of the components', async () => {
  world.harness.server.behaves(streamFails({ times: 2 }))
  const { page } = await world.mount(<Transcript />)
  expect(paragraphs(page)).toEqual(['loading: '])
  await act(() => world.harness.reaches('open'))
  await world.settles()
  expect(paragraphs(page)).toEqual(['live: '])
})
