// @vitest-environment happy-dom
import { createConnection } from 'holdline'
import {
  createHarness,
  type Harness,
  sendFails,
  streamDropsAfter,
  streamFails,
  watchInvariants,
} from 'holdline/testing'
import { act, type ReactNode, StrictMode } from 'react'
import { createRoot, type Root } from 'react-dom/client'
import { renderToString } from 'react-dom/server'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ChatConnection, type ChatEvent, createChat, type Prompt } from '../chat'
import { Chat } from './Chat'
import { ConnectionProvider, Status, useConnection } from './connection'
import { Banner, useAttempt, usePhase } from './xstate'

// [spec] React: without it `act` warns, and effects run when they like.
Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true })

let harness: Harness
let line: ChatConnection
let page: HTMLElement
let root: Root

const begin = () => {
  harness = createHarness({ create: (environment) => (line = createConnection<ChatEvent, Prompt>(environment)) })
}
beforeEach(() => {
  begin()
  page = document.body.appendChild(document.createElement('main'))
  root = createRoot(page)
})
afterEach(async () => {
  await act(async () => root.unmount())
  page.remove()
})

const text = () => page.textContent
const passes = (ms: number) => act(() => harness.passes(ms))
const publish = (event: object) => act(async () => harness.server.publish('s1', { ...event }))
const render = async (children: ReactNode) => {
  await act(async () =>
    root.render(
      <StrictMode>
        <ConnectionProvider connection={line}>{children}</ConnectionProvider>
      </StrictMode>,
    ),
  )
  await passes(0)
}
/** What a connection may hold of the world. */
const held = ({ streams, time, page } = harness) => ({
  streams: streams.filter(({ isClosed }) => !isClosed).length,
  timers: time.clock.pending,
  page: page.listeners,
})
const NOTHING = { streams: 0, timers: 0, page: 0 }

describe('C44: StrictMode mounts everything twice', () => {
  test('there are never two streams at once, and one in the end', async () => {
    const oracle = watchInvariants(harness)
    let most = 0
    harness.observe({ onStream: () => (most = Math.max(most, held().streams)) })
    await render(<Status />)
    expect(text()).toBe('online')
    // That of the first mount was left at once.
    expect(harness.streams.map(({ isClosed }) => isClosed)).toEqual([true, false])
    expect(most).toBe(1)
    oracle.check()
  })

  test('what is unmounted leaves no stream, timer or page listener behind', async () => {
    await render(<Status />)
    expect(held()).not.toEqual(NOTHING)
    await act(async () => root.unmount())
    expect(harness.connection.phase).toBe('idle')
    expect(held()).toEqual(NOTHING)
    root = createRoot(page)
  })

  test('what is mounted again goes on where it was, with what was said meanwhile', async () => {
    const chat = createChat(line, 's1')
    await render(<Chat chat={chat} />)
    await publish({ type: 'token', answer: '1', text: 'one ' })
    await act(async () => root.unmount())
    await publish({ type: 'token', answer: '1', text: 'two' })
    root = createRoot(page)
    await render(<Chat chat={chat} />)
    expect(page.querySelector('li')?.textContent).toBe('one two ')
    expect(held().streams).toBe(1)
  })

  test('another connection takes the place of the first, which leaves nothing behind', async () => {
    await render(<Status />)
    const first = harness
    begin()
    await render(<Status />)
    expect(text()).toBe('online')
    expect(held(first)).toEqual(NOTHING)
  })
})

describe('Status', () => {
  test('shows the phase, and when it tries again', async () => {
    await render(<Status />)
    await act(async () => harness.stream.fails())
    expect(harness.connection.phase).toBe('backoff')
    expect(text()).toMatch(/^no connection, again at \d/)
    await act(() => harness.reaches('open'))
    expect(text()).toBe('online')
  })

  test('a server renders that there is no connection, and makes none', () => {
    const html = renderToString(
      <ConnectionProvider connection={line}>
        <Status />
      </ConnectionProvider>,
    )
    expect(html).toBe('<output>not connected</output>')
    expect(harness.connection.phase).toBe('idle')
  })

  test('without a provider the hook says so', () => {
    expect(() => renderToString(<Status />)).toThrow('ConnectionProvider')
  })
})

describe('Chat', () => {
  const bubbles = () => [...page.querySelectorAll('li')].map(({ textContent }) => textContent?.trim())
  const says = async (prompt: string) => {
    const [input, button] = [page.querySelector('input'), page.querySelector('button')]
    if (!input || !button) throw new Error('there is no form')
    await act(async () => {
      input.value = prompt
      button.click()
    })
  }

  test('a prompt is there at once, and shows what becomes of it', async () => {
    const chat = createChat(line, 's1')
    await render(<Chat chat={chat} />)
    await act(async () => harness.stream.fails())
    await says('hi')
    expect(bubbles()).toEqual(['hi waits'])
    expect(page.querySelector('input')?.value).toBe('')
    await act(() => harness.reaches('open'))
    expect(bubbles()).toEqual(['hi sent'])
    expect(harness.server.commands).toMatchObject([{ message: { prompt: 'hi' } }])
  })

  test('the event of a prompt takes the place of the bubble, before the answer', async () => {
    const chat = createChat(line, 's1')
    await render(<Chat chat={chat} />)
    await says('hi')
    await passes(0)
    const id = harness.server.commands[0]?.id
    expect(bubbles()).toEqual(['hi sent'])
    await publish({ type: 'prompt', id, text: 'hi' })
    await publish({ type: 'token', answer: '1', text: 'hello ' })
    await publish({ type: 'token', answer: '1', text: 'there' })
    expect(bubbles()).toEqual(['hi', 'hello there'])
  })

  test('one that the server refuses says so', async () => {
    const chat = createChat(line, 's1')
    harness.server.behaves(sendFails({ status: 403 }))
    await render(<Chat chat={chat} />)
    await says('hi')
    await passes(0)
    expect(bubbles()).toEqual(['hi not sent'])
  })

  test('a history that was lost is not shown any more; what is on its way is', async () => {
    const chat = createChat(line, 's1')
    await render(<Chat chat={chat} />)
    await publish({ type: 'token', answer: '1', text: 'old' })
    await act(async () => harness.server.restarts())
    await says('hi')
    expect(bubbles()).toEqual(['old', 'hi waits'])
    await act(() => harness.reaches('open'))
    expect(bubbles()).toEqual(['hi sent'])
  })

  test('whatever the line does, the page shows what the server said', async () => {
    harness.server.behaves(streamDropsAfter(2))
    await render(<Chat chat={createChat(line, 's1')} />)
    for (const text of 'abcde') await publish({ type: 'token', answer: '1', text })
    await passes(60_000)
    expect(bubbles()).toEqual(['abcde'])
  })
})

const rendered: string[] = []
const Phase = () => void rendered.push(`phase ${usePhase(useConnection())}`)
const Attempt = () => void rendered.push(`attempt ${useAttempt(useConnection())}`)

describe('useSelector of @xstate/react', () => {
  test('the banner follows the phase and the attempts', async () => {
    harness.server.behaves(streamFails())
    await render(<Banner />)
    await act(() => harness.reaches('backoff'))
    expect(text()).toBe('Connecting …')
    await passes(600_000)
    expect(text()).toMatch(/^Still no connection/)
    harness.server.behaves({ stream: (stream) => stream.opens() })
    await act(() => harness.reaches('awaitingWelcome'))
    await act(async () => harness.stream.welcomes())
    expect(text()).toBe('')
  })

  test('a component renders when what it selects has changed, and for nothing else', async () => {
    await render([<Phase key="phase" />, <Attempt key="attempt" />])
    await act(async () => harness.stream.fails())
    await act(() => harness.reaches('open'))
    rendered.length = 0
    // The attempts are forgotten after a while of `open`.
    await passes(5_000)
    // StrictMode renders twice.
    expect(rendered).toEqual(['attempt 0', 'attempt 0'])
  })

  test('C44: it lets go of the actor when it is unmounted', async () => {
    const observers = () => (harness.connection.actor as unknown as { observers: Set<unknown> }).observers.size
    const before = observers()
    await render(<Banner />)
    expect(observers()).toBe(before + 2)
    await act(async () => root.unmount())
    expect(observers()).toBe(before)
    root = createRoot(page)
  })
})

const Stop = () => {
  const { send } = useConnection()
  return (
    <button type="button" onClick={() => send({ type: 'stop', sessionId: 's1' })}>
      Stop
    </button>
  )
}

test('a component may send, without a prop handed down', async () => {
  await render(<Stop />)
  await act(async () => page.querySelector('button')?.click())
  await passes(0)
  expect(harness.server.commands).toMatchObject([{ endpoint: 'stop' }])
})
