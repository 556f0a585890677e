// @vitest-environment happy-dom
import { type Connection, createConnection, type Delivery } from 'holdline'
import { persist } from 'holdline/storage'
import { createHarness, type Environment, type Harness, sendFails, watchInvariants } from 'holdline/testing'
import {
  createHooks,
  provideHoldline,
  useConnection,
  useConnectionStatus,
  useDelivery,
  useHoldline,
  useLineStatus,
  useOwnMessages,
  usePending,
  useSend,
  useSession,
} from 'holdline/vue'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  type App,
  type Component,
  createApp,
  createSSRApp,
  defineComponent,
  effectScope,
  h,
  nextTick,
  shallowRef,
} from 'vue'
import { renderToString } from 'vue/server-renderer'
import { createLoads, lineText, ownText, reduce, refusesAsBusy, TRANSCRIPT } from '../sessions/world'

let harness: Harness
let environment: Environment
let app: App | undefined
let page: HTMLElement

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  vi.stubGlobal('requestAnimationFrame', undefined)
  harness = createHarness({
    create(own) {
      environment = own
      return createConnection(own)
    },
  })
})
afterEach(() => {
  app?.unmount()
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

async function settles() {
  await harness.settles()
  vi.advanceTimersByTime(16)
  await harness.settles()
  await nextTick()
}
async function passes(ms: number) {
  await harness.passes(ms)
  vi.advanceTimersByTime(ms)
  await settles()
}
const rooted = (component: Component, props: object) =>
  defineComponent(() => {
    provideHoldline(harness.connection)
    return () => h(component, props)
  })
async function mount(component: Component, props = {}) {
  page = document.createElement('main')
  app = createApp(rooted(component, props))
  app.mount(page)
  await settles()
}
const say = (text: string, id = 's1') => {
  for (const letter of text) harness.server.publish(id, { type: 'token', text: letter })
}
const live = () => harness.streams.filter(({ isClosed }) => !isClosed).length
const text = () => page.textContent

const Transcript = defineComponent(
  ({ id }: { id: string | null }) => {
    const { state, status } = useSession(() => id, TRANSCRIPT)
    return () => `${status.value}: ${state.value}`
  },
  { props: ['id'] },
)

describe('provideHoldline', () => {
  test('C44: the line is up while the root is mounted, and nothing of it is left', async () => {
    const oracle = watchInvariants(harness)
    await mount(Transcript, { id: 's1' })
    expect(harness.connection.phase).toBe('open')
    app?.unmount()
    await settles()
    expect(harness.connection.phase).toBe('idle')
    expect(live()).toBe(0)
    oracle.check()
  })

  test('without it a composable says so', () => {
    const scope = effectScope()
    vi.spyOn(console, 'warn').mockImplementation(() => {})
    expect(() => scope.run(() => useConnection())).toThrow('provideHoldline')
    vi.restoreAllMocks()
  })
})

describe('useSession', () => {
  test('components of one session show the same, and reduce each event once', async () => {
    const spy = vi.fn(reduce)
    const Own = defineComponent(() => {
      const { state } = useSession('s1', { initial: '', reduce: spy })
      return () => state.value
    })
    await mount(defineComponent(() => () => [h(Own), ' ', h(Own)]))
    say('ab')
    await settles()
    expect(text()).toBe('ab ab')
    expect(spy).toHaveBeenCalledTimes(2)
  })

  test('a burst of tokens renders once per frame', async () => {
    let renders = 0
    const Own = defineComponent(() => {
      const { state } = useSession('s1', TRANSCRIPT)
      return () => {
        renders++
        return state.value
      }
    })
    await mount(Own)
    renders = 0
    say('abcdefgh')
    await harness.settles()
    expect(renders).toBe(0)
    await settles()
    expect(text()).toBe('abcdefgh')
    expect(renders).toBe(1)
  })

  test('another id shows another session; what is shown again is as it was, with what was said meanwhile', async () => {
    const id = shallowRef<string | null>('s1')
    await mount(
      defineComponent(() => {
        const { state, status } = useSession(id, TRANSCRIPT)
        return () => `${status.value}: ${state.value}`
      }),
    )
    say('one', 's1')
    say('two', 's2')
    id.value = 's2'
    await settles()
    expect(text()).toBe('live: two')
    id.value = null
    await settles()
    expect(text()).toBe('loading: ')
    say('!', 's1')
    id.value = 's1'
    await settles()
    expect(text()).toBe('live: one!')
    expect(harness.posts.map(({ endpoint }) => endpoint)).toEqual(['reconnect', 'watch'])
  })

  test('the error of a load is shown until one succeeds', async () => {
    const loads = createLoads()
    await mount(
      defineComponent(() => {
        const { state, status, error } = useSession('s1', { ...TRANSCRIPT, load: loads.load })
        return () => `${status.value}: ${state.value} ${error.value ?? ''}`
      }),
    )
    loads.last.fails('no database')
    await settles()
    expect(text()).toBe('loading:  no database')
    await passes(1_000)
    loads.last.answers('abc', 0)
    await settles()
    expect(text()).toBe('live: abc ')
  })

  test('a scope that ends lets go of the session', async () => {
    await mount(Transcript, { id: 's1' })
    app?.unmount()
    app = undefined
    await passes(300_000)
    expect(harness.connection.cursors).toEqual([])
  })
})

describe('the line, and what is on its way', () => {
  test('useConnectionStatus and useLineStatus follow it', async () => {
    await mount(
      defineComponent(() => {
        const snapshot = useConnectionStatus()
        const phase = useConnectionStatus(({ phase }) => phase)
        const line = useLineStatus()
        return () => `${snapshot.value.phase} ${phase.value} ${lineText(line.value)}`
      }),
    )
    expect(text()).toBe('open open online')
    harness.server.behaves(sendFails({ status: 429, retryAfter: 3, times: 1 }))
    harness.connection.send({ type: 'send', sessionId: 's1' })
    await settles()
    const seconds = Number(text()?.split(' ').at(-1))
    expect(seconds).toBeGreaterThanOrEqual(3)
    await passes(1_000)
    expect(text()).toBe(`open open retrying ${seconds - 1}`)
    await passes(10_000)
    expect(text()).toBe('open open online')
  })

  test('usePending and useDelivery: what waits, and the verdict, which stays', async () => {
    const delivery = shallowRef<Delivery | null>(null)
    const session = shallowRef('s2')
    let send!: Connection['send']
    await mount(
      defineComponent(() => {
        send = useSend()
        const all = usePending()
        const own = usePending(session)
        const one = useDelivery(delivery)
        return () => `${all.value.length} ${own.value.length} ${one.value?.status}`
      }),
    )
    harness.stream.fails()
    delivery.value = send({ type: 'send', sessionId: 's1' })
    await settles()
    expect(text()).toBe('1 0 queued')
    session.value = 's1'
    await settles()
    expect(text()).toBe('1 1 queued')
    await harness.reaches('open')
    await settles()
    expect(text()).toBe('0 0 accepted')
  })
})

describe('useOwnMessages', () => {
  const session = shallowRef<string | null>('s1')
  const shown = shallowRef<readonly { id: string }[]>([])
  let own!: ReturnType<typeof useOwnMessages>
  const Own = defineComponent(() => {
    own = useOwnMessages(session, { shown })
    return () => own.value.map(ownText).join(', ')
  })
  const send = (prompt: string, sessionId = 's1') =>
    harness.connection.send({ type: 'send', sessionId, prompt }, { id: prompt })
  beforeEach(() => {
    session.value = 's1'
    shown.value = []
  })

  test('a message is shown from `send` until the transcript has it, also between its receipt and its event', async () => {
    await mount(Own)
    harness.stream.fails()
    send('a')
    await settles()
    expect(text()).toBe('a queued')
    await harness.reaches('open')
    await settles()
    expect(text()).toBe('a accepted')
    shown.value = [{ id: 'a' }]
    await settles()
    expect(text()).toBe('')
    shown.value = []
    await settles()
    expect(text()).toBe('')
  })

  test('only those of its session and its type; another chat and back changes nothing', async () => {
    const isThere = shallowRef(true)
    await mount(defineComponent(() => () => isThere.value && h(Own)))
    send('a')
    send('b', 's2')
    await settles()
    harness.connection.send({ type: 'stop', sessionId: 's1' })
    await settles()
    expect(text()).toBe('a accepted')
    session.value = 's2'
    await settles()
    expect(text()).toBe('b accepted')
    session.value = null
    await settles()
    expect(text()).toBe('')
    isThere.value = false
    await settles()
    session.value = 's1'
    isThere.value = true
    await settles()
    expect(text()).toBe('a accepted')
  })

  test('one that is refused stays, with the reason, until it is dismissed; its repeat is a new message', async () => {
    await mount(Own)
    harness.server.behaves(refusesAsBusy(2))
    send('a')
    send('b')
    await settles()
    expect(text()).toBe('a rejected: busy, b rejected: busy')
    own.value[0]?.dismiss()
    await settles()
    expect(text()).toBe('b rejected: busy')
    own.value[0]?.repeat()
    await settles()
    expect(text()).toBe('b accepted')
    expect(harness.posts.filter(({ endpoint }) => endpoint === 'send').map(({ key }) => key === 'b')).toEqual([
      false,
      true,
      false,
    ])
  })

  test('one that waits counts down to its next try', async () => {
    await mount(Own)
    harness.server.behaves(sendFails({ status: 429, retryAfter: 3, times: 1 }))
    send('a')
    await settles()
    const secondsOf = () => Number(/in (\d+)$/.exec(text() ?? '')?.[1])
    const first = secondsOf()
    expect(first).toBeGreaterThanOrEqual(3)
    await passes(1_000)
    expect(secondsOf()).toBe(first - 1)
    await passes(10_000)
    expect(text()).toBe('a accepted')
  })

  test('one that an earlier page has left, and that is refused before a chat is shown, is there', async () => {
    harness = createHarness({
      create: (own, storage) => createConnection({ ...own, storage: persist(storage, { key: 'own' }) }) as never,
    })
    send('a')
    await harness.settles()
    harness.reloads()
    harness.server.behaves(refusesAsBusy(1))
    const isThere = shallowRef(false)
    await mount(defineComponent(() => () => isThere.value && h(Own)))
    isThere.value = true
    await settles()
    expect(text()).toBe('a rejected: busy')
  })
})

test('a component finds the connection that it provides itself', async () => {
  page = document.createElement('main')
  app = createApp(
    defineComponent(() => {
      provideHoldline(harness.connection)
      const { status } = useSession('s1', TRANSCRIPT)
      return () => status.value
    }),
  )
  app.mount(page)
  await settles()
  expect(text()).toBe('live')
})

test('createHooks: the composables are the same', () => {
  const own = createHooks({})
  expect(own.useSession).toBe(useSession)
  expect(own.useSend).toBe(useSend)
})

test('C30: useHoldline is a line of one user, and gone with the component', async () => {
  vi.spyOn(console, 'warn')
  const user = shallowRef<string | null>('ann')
  const Chat = defineComponent(
    ({ name }: { name: string }) => {
      provideHoldline(useHoldline({ ...environment, storage: persist(localStorage, { key: name }) }, name))
      return () => h(Transcript, { id: 's1' })
    },
    { props: ['name'] },
  )
  await mount(defineComponent(() => () => user.value && h(Chat, { key: user.value, name: user.value })))
  expect(live()).toBe(2)
  user.value = 'bob'
  await settles()
  expect(live()).toBe(2)
  expect(harness.streams).toHaveLength(3)
  user.value = null
  await settles()
  expect(live()).toBe(1)
  expect(console.warn).not.toHaveBeenCalled()
  vi.restoreAllMocks()
})

test('a server renders that nothing is connected, touches nothing, and the page takes over without a mismatch', async () => {
  const Page = defineComponent(() => {
    const snapshot = useConnectionStatus()
    const pending = usePending()
    const { state, status } = useSession('s1', TRANSCRIPT)
    return () => h('p', `${snapshot.value.phase} ${pending.value.length} ${status.value}: ${state.value}`)
  })
  const html = await renderToString(createSSRApp(rooted(Page, {})))
  expect(html).toBe('<p>idle 0 loading: </p>')
  expect(harness.connection.cursors).toEqual([])
  expect(harness.streams).toEqual([])
  page = document.createElement('main')
  page.innerHTML = html
  harness.connection.send({ type: 'send', sessionId: 's1' })
  const warn = vi.spyOn(console, 'warn')
  const error = vi.spyOn(console, 'error')
  app = createSSRApp(rooted(Page, {}))
  app.mount(page)
  await settles()
  say('a')
  await settles()
  expect(text()).toBe('open 0 live: a')
  expect([...warn.mock.calls, ...error.mock.calls]).toEqual([])
  vi.restoreAllMocks()
})
