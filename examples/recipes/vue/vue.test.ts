// @vitest-environment happy-dom
import { createConnection } from 'holdline'
import { createHarness, type Harness, streamFails } from 'holdline/testing'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type App, type Component, createApp, defineComponent, effectScope, h } from 'vue'
import { type ChatConnection, type ChatEvent, createChat, type Prompt } from '../chat'
import { Banner, Chat, Status } from './components'
import { provideConnection, useStore } from './connection'

let harness: Harness
let line: ChatConnection
let app: App
let page: HTMLElement

beforeEach(() => {
  harness = createHarness({ create: (environment) => (line = createConnection<ChatEvent, Prompt>(environment)) })
})
afterEach(() => app?.unmount())

/** Virtual time passes, and Vue renders. */
const passes = (ms: number) => harness.passes(ms)
const mount = (component: Component, props = {}) => {
  page = document.createElement('main')
  app = createApp(
    defineComponent(() => {
      provideConnection(line)
      return () => h(component, props)
    }),
  )
  app.mount(page)
  return passes(0)
}
const held = () => ({
  streams: harness.streams.filter(({ isClosed }) => !isClosed).length,
  timers: harness.time.clock.pending,
  page: harness.page.listeners,
})

describe('provideConnection', () => {
  test('C44: the line is up while the root is mounted; nothing is left of it, and it can be mounted again', async () => {
    await mount(Status)
    expect(page.textContent).toBe('online')
    expect(held().streams).toBe(1)
    app.unmount()
    expect(held()).toEqual({ streams: 0, timers: 0, page: 0 })
    await mount(Status)
    expect(page.textContent).toBe('online')
    expect(held().streams).toBe(1)
  })

  test('Status follows the line', async () => {
    await mount(Status)
    harness.stream.fails()
    await passes(0)
    expect(page.textContent).toMatch(/^no connection, again at \d/)
    await harness.reaches('open')
    expect(page.textContent).toBe('online')
  })
})

describe('useStore', () => {
  test('a scope that ends lets go of the store', () => {
    const listeners = new Set<() => void>()
    let value = 1
    const store = {
      getSnapshot: () => value,
      subscribe(listener: () => void) {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      },
    }
    const scope = effectScope()
    const current = scope.run(() => useStore(store))
    value = 2
    for (const listener of listeners) listener()
    expect(current?.value).toBe(2)
    scope.stop()
    expect(listeners.size).toBe(0)
  })
})

test('Banner, over @xstate/vue, selects from the machine itself, and lets go of it', async () => {
  const { observers } = harness.connection.actor as unknown as { observers: Set<unknown> }
  const before = observers.size
  harness.server.behaves(streamFails({ times: 4 }))
  await mount(Banner)
  expect(page.textContent).toBe('')
  await passes(60_000)
  expect(harness.connection.phase).toBe('open')
  harness.server.behaves(streamFails())
  harness.stream.fails()
  await passes(600_000)
  expect(page.textContent).toMatch(/^Still no connection/)
  expect(observers.size).toBe(before + 1)
  app.unmount()
  expect(observers.size).toBe(before)
})

describe('Chat', () => {
  const bubbles = () => [...page.querySelectorAll('li')].map(({ textContent }) => textContent)

  test('a prompt is there at once, shows what becomes of it, and gives way to its event', async () => {
    await mount(Chat, { chat: createChat(line, 's1') })
    harness.stream.fails()
    const [input, button] = [page.querySelector('input'), page.querySelector('button')]
    if (!input || !button) throw new Error('there is no form')
    document.body.append(page)
    // The browser would load the page anew.
    let isPrevented = false
    page.addEventListener('submit', (event) => (isPrevented = event.defaultPrevented))
    input.value = 'hi'
    button.click()
    await passes(0)
    expect(bubbles()).toEqual(['hi queued'])
    expect(input.value).toBe('')
    expect(isPrevented).toBe(true)
    await harness.reaches('open')
    expect(bubbles()).toEqual(['hi accepted'])
    harness.server.publish('s1', { type: 'prompt', id: harness.server.commands[0]?.id, text: 'hi' })
    harness.server.publish('s1', { type: 'token', answer: '1', text: 'hello' })
    await passes(0)
    expect(bubbles()).toEqual(['hi', 'hello'])
    page.remove()
  })

  test('what is mounted again shows what was said meanwhile', async () => {
    const chat = createChat(line, 's1')
    await mount(Chat, { chat })
    harness.server.publish('s1', { type: 'token', answer: '1', text: 'one ' })
    await passes(0)
    app.unmount()
    harness.server.publish('s1', { type: 'token', answer: '1', text: 'two' })
    await mount(Chat, { chat })
    expect(bubbles()).toEqual(['one two'])
  })
})
