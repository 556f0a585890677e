// @vitest-environment happy-dom
import { type Connection, createConnection, type Delivery } from 'holdline'
import type { Protocol } from 'holdline/protocol'
import { persist } from 'holdline/storage'
import { createSharedConnection } from 'holdline/tabs'
import { createHarness, type Environment, type Harness, sendFails, watchInvariants } from 'holdline/testing'
import * as holdline from 'holdline/vue'
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
  type EffectScope,
  effectScope,
  h,
  nextTick,
  type Ref,
  shallowRef,
} from 'vue'
import { renderToString } from 'vue/server-renderer'
import type { TabRole } from '../../tabs/types'
import { createLoads, lineText, ownText, reduce, refusesAsBusy, TRANSCRIPT } from '../sessions/world'
import { createTabs } from '../support/tabs'

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
    let shown!: ReturnType<typeof useSession<string>>
    await mount(
      defineComponent(() => {
        shown = useSession(id, TRANSCRIPT as never)
        return () => `${shown.status.value}: ${shown.state.value}`
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
    await settles()
    expect(text()).toBe('loading: ')
    id.value = 's1'
    expect(shown.state.value).toBe('one!')
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

  test('a component that is mounted late shows at once what is known', async () => {
    const isThere = shallowRef(false)
    const rendered: string[] = []
    const Late = defineComponent(() => {
      const snapshot = useConnectionStatus()
      const line = useLineStatus()
      const { status } = useSession('s1', TRANSCRIPT)
      return () => {
        rendered.push(`${snapshot.value.phase} ${status.value}`)
        return lineText(line.value)
      }
    })
    await mount(defineComponent(() => () => (isThere.value ? h(Late) : h(Transcript, { id: 's1' }))))
    isThere.value = true
    await nextTick()
    expect(text()).toBe('online')
    expect(new Set(rendered)).toEqual(new Set(['open live']))
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
  const isThere = shallowRef(true)
  let own!: ReturnType<typeof useOwnMessages>
  const Own = defineComponent(() => {
    own = useOwnMessages(session, { shown })
    return () => own.value.map(ownText).join(', ')
  })
  const Perhaps = defineComponent(() => () => isThere.value && h(Own))
  const send = (prompt: string, sessionId = 's1') =>
    harness.connection.send({ type: 'send', sessionId, prompt }, { id: prompt })
  beforeEach(() => {
    session.value = 's1'
    shown.value = []
    isThere.value = true
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

  test('one that the transcript has before its receipt is shown once', async () => {
    await mount(Own)
    harness.server.behaves({ post: () => {} })
    send('a')
    await settles()
    expect(text()).toBe('a sending')
    shown.value = [{ id: 'a' }]
    await settles()
    expect(text()).toBe('')
  })

  test('one that the transcript of a component has when it is mounted is needed no more', async () => {
    await mount(Perhaps)
    send('a')
    await settles()
    isThere.value = false
    await settles()
    shown.value = [{ id: 'a' }]
    isThere.value = true
    await settles()
    shown.value = []
    await settles()
    expect(text()).toBe('')
  })

  test('only those of its session and its type; another chat and back changes nothing', async () => {
    let stops!: typeof own
    await mount(
      defineComponent(() => {
        stops = useOwnMessages(session, { shown, type: 'stop' })
        return () => h(Perhaps)
      }),
    )
    send('a')
    send('b', 's2')
    await settles()
    harness.connection.send({ type: 'stop', sessionId: 's1' })
    await settles()
    expect(text()).toBe('a accepted')
    expect(stops.value).toMatchObject([{ message: { type: 'stop' }, status: 'accepted' }])
    session.value = 's2'
    // Also for those who do not wait for the next rendering.
    expect(own.value).toMatchObject([{ id: 'b' }])
    await settles()
    expect(text()).toBe('b accepted')
    send('c')
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
    expect(text()).toBe('a accepted, c accepted')
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
    isThere.value = false
    await mount(Perhaps)
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

describe('a scope of its own in a component', () => {
  const follow = (session: Ref<string>) => ({
    snapshot: useConnectionStatus(),
    line: useLineStatus(),
    pending: usePending(session),
    own: useOwnMessages(session, { shown: [] }),
    view: useSession(session, TRANSCRIPT).state,
  })
  async function mountScope(whenMade: (scope: EffectScope) => void) {
    const session = shallowRef('s1')
    const scope = effectScope()
    let refs!: ReturnType<typeof follow>
    await mount(
      defineComponent(() => {
        refs = scope.run(() => follow(session)) as typeof refs
        whenMade(scope)
        return () => ''
      }),
    )
    return { session, scope, all: () => Object.values(refs).map(({ value }) => value) }
  }

  test('follows nothing after its end', async () => {
    const { session, scope, all } = await mountScope(() => {})
    say('a')
    await settles()
    const before = all()
    expect(before).toMatchObject([{ phase: 'open' }, { status: 'online' }, [], [], 'a'])
    scope.stop()
    say('b')
    session.value = 's2'
    say('c', 's2')
    harness.stream.fails()
    for (const sessionId of ['s1', 's2']) harness.connection.send({ type: 'send', sessionId })
    await settles()
    expect(all()).toEqual(before)
  })

  test('that ends before the mount never begins', async () => {
    const warn = vi.spyOn(console, 'warn')
    const { all } = await mountScope((scope) => scope.stop())
    say('a')
    await settles()
    expect(all()).toMatchObject([{ phase: 'idle' }, { status: 'idle' }, [], [], ''])
    expect(warn).not.toHaveBeenCalled()
    vi.restoreAllMocks()
  })
})

describe('createHooks', () => {
  test('the composables are the same', () => {
    const { useHoldline: _, ...same } = Object.fromEntries(
      Object.entries(holdline).filter(([name]) => name.startsWith('use')),
    )
    expect(createHooks({})).toMatchObject(same)
  })

  test('a line of each key, made by a function of the app that is given the protocol', () => {
    const protocol: Protocol<{ up: { ask: object }; down: object }> = { endpoints: { ask: 'ask' } }
    const own = createHooks(protocol)
    const make = vi.fn((options: object) => createConnection(options as never))
    const scope = effectScope()
    const lineOf = (key: string) => scope.run(() => own.useHoldline(environment, key, make))
    expect(lineOf('ann')).not.toBe(lineOf('bob'))
    expect(make).toHaveBeenCalledWith({ ...environment, protocol })
    scope.stop()
  })
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
  // The storage key of a line that is gone is free.
  for (const key of ['ann', 'bob'])
    createConnection({ ...environment, storage: persist(localStorage, { key }) }).dispose()
  expect(console.warn).not.toHaveBeenCalled()
  vi.restoreAllMocks()
})

test('useHoldline of a shared connection: two tabs hold one line, and one that goes leaves it to the other', async () => {
  const environmentOf = createTabs()
  const Tab = defineComponent(
    ({ name }: { name: string }) => {
      const connection = useHoldline(environment, name, (own) =>
        createSharedConnection(own, { name: 'chat', environment: environmentOf(name) }),
      )
      provideHoldline(connection)
      const role = shallowRef<TabRole>()
      connection.tabs.subscribe((next) => {
        role.value = next
      })
      return () => [`${role.value} `, h(Transcript, { id: 's1' })]
    },
    { props: ['name'] },
  )
  const names = shallowRef(['one'])
  await mount(defineComponent(() => () => names.value.map((name) => h(Tab, { key: name, name }))))
  await settles()
  names.value = ['one', 'two']
  for (let turns = 0; turns < 4; turns++) await settles()
  say('a')
  await settles()
  expect(text()).toBe('leading live: afollowing live: a')
  expect(live()).toBe(2)
  names.value = ['two']
  for (let turns = 0; turns < 4; turns++) await settles()
  say('b')
  await settles()
  expect(text()).toBe('leading live: ab')
  expect(live()).toBe(2)
  names.value = []
  await settles()
  expect(live()).toBe(1)
})

test('a server renders that nothing is connected, touches nothing, and the page takes over without a mismatch', async () => {
  const Page = defineComponent(() => {
    const snapshot = useConnectionStatus()
    const pending = usePending()
    const own = useOwnMessages('s1', { shown: [] })
    const line = useLineStatus()
    const { state, status } = useSession('s1', TRANSCRIPT)
    const waiting = () => `${snapshot.value.pendingCount} ${pending.value.length} ${own.value.length}`
    // One text: of two in a row Vue does not tell that they differ.
    return () => h('p', `${snapshot.value.phase} ${line.value.status} ${waiting()} ${status.value}: ${state.value}`)
  })
  const html = await renderToString(createSSRApp(rooted(Page, {})))
  expect(html).toBe('<p>idle idle 0 0 0 loading: </p>')
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
  expect(text()).toBe('open online 0 0 1 live: a')
  expect([...warn.mock.calls, ...error.mock.calls]).toEqual([])
  vi.restoreAllMocks()
})
