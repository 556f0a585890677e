import { once } from 'node:events'
import net from 'node:net'
import { inspect as print } from 'node:util'
import { serialize } from 'node:v8'
import { createBrowserInspector, createBrowserReceiver, createWebSocketReceiver } from '@statelyai/inspect'
import { Window } from 'happy-dom'
import { ConnectionError, createConnection, type EventSourceLike } from 'holdline'
import { createInspector, type InspectorAdapter, type InspectorOptions } from 'holdline/inspect'
import { persist } from 'holdline/storage'
import { type Behaviour, createHarness } from 'holdline/testing'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import {
  type AnyActorLogic,
  assign,
  createActor,
  fromCallback,
  fromObservable,
  fromPromise,
  fromTransition,
  type InspectionEvent,
  setup,
  toObserver,
} from 'xstate'
import type { InspectorEvent } from '../../inspect/redact'
import { createStorage } from '../support/storage'

/** Says where it came from, should it leave. */
const secret = (where: string) => `SECRET-${where}!`
/** The places whose secrets are in what was sent. */
const leaked = (sent: string) => [...new Set(sent.match(/SECRET-[^!]*!/g))]

/** Everything that XState shows to who inspects it, messages and causes of errors included. */
function shown(inspection: InspectionEvent): string {
  const { event, snapshot, actorRef } = inspection as never as Record<string, Record<string, unknown>>
  const { context, output, error, input } = snapshot ?? {}
  return print([event, context, output, error, input, actorRef?.id, (actorRef?.logic as typeof actorRef)?.config], {
    depth: 5,
    maxStringLength: null,
  })
}

/**
 * A real connection on a line where everything happens, with a secret wherever somebody else's
 * words can stand.
 */
async function troubledLine(inspect: (event: InspectionEvent) => void) {
  const authorization = `Bearer ${secret('header')}`
  const sessionId = secret('session')
  const refuse = (endpoint: string, status: number, times: number): Behaviour => ({
    post(post, next) {
      if (post.endpoint === endpoint && times-- > 0) post.answers(status, { error: secret(`answer-${status}`) })
      else next()
    },
  })
  const server: Behaviour[] = [
    {
      stream(stream, next) {
        const welcomes = (frame = {}) =>
          stream.welcomes({
            ...frame,
            connectionId: secret('connectionId'),
            [secret('welcome-key')]: secret('welcome'),
          })
        next(Object.assign(Object.create(stream), { welcomes }))
      },
    },
    refuse('reconnect', 503, 1),
    refuse('send', 401, 1),
    refuse('mode', 401, 2),
    {
      post: (post, next) =>
        post.endpoint === 'send' ? post.answers(200, { ok: true, [secret('receipt-key')]: secret('receipt') }) : next(),
    },
  ]
  let isCut = false
  const harness = createHarness({
    server,
    create: (environment) =>
      createConnection({
        ...environment,
        url: `http://harness.test/${secret('url')}`,
        fetch: (...request) =>
          isCut
            ? Promise.reject(new Error(secret('fetch'), { cause: secret('fetch-cause') }))
            : environment.fetch(...request),
        createEventSource(...request) {
          const source = environment.createEventSource(...request) as EventSourceLike
          return {
            addEventListener: (type, listener) =>
              source.addEventListener(type, (event: object) =>
                listener({ ...event, ...(type === 'error' && { message: secret('stream-error') }) } as never),
              ),
            close: () => source.close(),
          }
        },
        headers: async () => ({ authorization }),
        cursors: [{ sessionId, lastSeq: 7, epoch: secret('epoch') }],
        storage: persist(createStorage(), { key: secret('storage-key'), cursors: true }),
        inspect,
      }),
  })
  const { connection } = harness
  connection.on('error', () => {})
  connection.on('message', () => {
    throw new Error(secret('listener'))
  })
  const message = (type: string) => ({ type, sessionId, prompt: secret('prompt'), [secret('prompt-key')]: 1 })
  const delivery = connection.send(message('send'), { id: secret('message-id') })
  await harness.opens()
  await harness.passes(60_000)
  harness.server.publish(sessionId, { type: 'token', text: secret('token') })
  harness.stream.sends({ type: 'reconnected', resumeId: secret('resumeId'), sessions: [] })
  harness.stream.sends({ type: 'probe', nonce: secret('nonce') })
  harness.stream.sends(secret('no-json'))
  connection.wake({ awayFor: 4_321 })
  await harness.passes(60_000)
  harness.stream.sends({ type: 'goodbye', retryAfter: 1_234, reason: secret('goodbye') })
  await harness.reaches('open')
  harness.stream.fails(502)
  await harness.reaches('open')
  isCut = true
  harness.stream.fails()
  await harness.passes(60_000)
  isCut = false
  await harness.reaches('open')
  const error = new Error(secret('rogue'), { cause: secret('rogue-cause') })
  connection.actor.send({ type: 'stream.failed', error, [secret('rogue-key')]: secret('rogue-field') } as never)
  await harness.reaches('open')
  const features = ['probe', secret('feature')]
  const welcome = { type: 'stream.welcomed', connectionId: secret('own'), heartbeat: null, features, cursors: [] }
  connection.actor.send(welcome as never)
  connection.send(message('set_mode'))
  await harness.reaches('idle')
  // So that the list below is about a line on which all of it did happen.
  expect(connection.lastError?.code).toBe('unauthorized')
  expect(delivery.status).toBe('accepted')
  connection.dispose()
}

/** A replacer: the adapter for WebSockets sorts the keys. */
const sorted = (_: string, value: unknown) =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value

/** What a diagram needs. */
function isReadable(told: readonly InspectorEvent[]) {
  const [connection] = told
  expect(connection?.name).toBe('connection')
  for (const name of [
    'awaitingWelcome',
    'stream.gapped',
    'recordCursors',
    'isFruitlessAgain',
    'resumeTimeout',
    '#backoff',
  ]) {
    expect(connection?.definition).toContain(`"${name}"`)
  }
  const texts = told.map((event) => JSON.stringify(event, sorted))
  const types = told.map(({ event }) => event?.type)
  expect(types).toEqual(
    expect.arrayContaining([
      'xstate.init',
      'stream.welcomed',
      'resume.failed',
      'stream.drained',
      'upstream.unauthorized',
      'release',
      'start',
      'xstate.after.backoffDelay.backoff',
    ]),
  )
  for (const part of [
    '"value":{"active":{"streaming":{"reconnecting":"posting"}}}',
    '"value":{"released":"flowing"}',
    '"tags":["backoff"]',
    '"error":{"code":"http","retryable":true,"status":503}',
    '"delay":{"retryAfter":1234}',
    '"awayFor":4321',
    '"attempt":2',
    '"lastError":{"code":"unauthorized"',
    '"features":["replay-marker"',
    '"connectionId":"[redacted]"',
    '"cursors":"[redacted] × 1"',
  ]) {
    expect(
      texts.some((text) => text.includes(part)),
      part,
    ).toBe(true)
  }
}

const isEnd = ({ sessionId, rootId, snapshot }: InspectorEvent) =>
  sessionId === rootId && (snapshot as { status?: string } | undefined)?.status === 'stopped'

/** What an adapter is given. */
function recorder() {
  const told: InspectorEvent[] = []
  return { told, adapter: { send: (event) => void told.push(event) } satisfies InspectorAdapter }
}

/** Lets everything go on that needs no time. */
const soon = (check: () => void) => vi.waitFor(check, { interval: 1, timeout: 10_000 })

const endings: (() => unknown)[] = []
afterEach(async () => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  for (const end of endings.splice(0).reverse()) await end()
})

/** What the page of the inspector is in a browser: a window that another one has opened. */
function twoWindows() {
  const page = new Window() as unknown as globalThis.Window
  const opened = new Window() as unknown as globalThis.Window
  Object.defineProperty(opened, 'opener', { value: page })
  const bytes: string[] = []
  const postMessage = opened.postMessage.bind(opened)
  opened.postMessage = (data: unknown, ...rest: never[]) => {
    // [spec] what crosses from window to window is a structured clone
    bytes.push(serialize(data).toString('latin1'))
    postMessage(data, ...rest)
  }
  const open = vi.fn<(...request: unknown[]) => typeof opened | null>(() => opened)
  Object.assign(page, { open })
  endings.push(
    () => (page as unknown as Window).happyDOM.close(),
    () => (opened as unknown as Window).happyDOM.close(),
  )
  return { page, opened, open, bytes }
}

/** Passes on what one client says to all others, as the package's own bridge does. */
async function relay(port = 0) {
  const server = new WebSocketServer({ port, host: '127.0.0.1' })
  const bytes: string[] = []
  const clients = new Set<WebSocket>()
  server.on('connection', (client) => {
    clients.add(client)
    client.on('close', () => clients.delete(client))
    client.on('message', (data) => {
      bytes.push(String(data))
      for (const other of clients) if (other !== client) other.send(String(data))
    })
  })
  await once(server, 'listening')
  const close = () => {
    for (const client of clients) client.terminate()
    return new Promise((resolve) => server.close(resolve))
  }
  endings.push(close)
  const address = server.address() as { port: number }
  return { url: `ws://127.0.0.1:${address.port}`, port: address.port, clients, bytes, close }
}

describe('what leaves the process', () => {
  test('states, event types and timings do; bodies, headers, tokens, ids and the texts of errors do not', async () => {
    const { told, adapter } = recorder()
    const { inspect } = createInspector({ adapter })
    let all = ''
    await troubledLine((inspection) => {
      all += shown(inspection)
      inspect(inspection)
    })
    isReadable(told)
    expect(leaked(JSON.stringify(told))).toEqual([])
    // XState was shown them, so there was something to keep back.
    expect(leaked(all)).toEqual(
      expect.arrayContaining(
        ['connectionId', 'session', 'epoch', 'resumeId', 'nonce', 'rogue', 'rogue-cause', 'rogue-key', 'rogue-field']
          .concat('fetch', 'fetch-cause', 'stream-error', 'feature', 'own')
          .map(secret),
      ),
    )
  })

  test('the same through a WebSocket, to the receiver of the package', async () => {
    const { url, bytes, clients } = await relay()
    const received: InspectorEvent[] = []
    const receiver = createWebSocketReceiver({ server: url })
    receiver.subscribe((event) => void received.push(event as never))
    await soon(() => expect(clients.size).toBe(1))
    const { inspect, stop } = createInspector({ url })
    endings.push(stop)
    await troubledLine(inspect)
    await soon(() => expect(received.some(isEnd)).toBe(true))
    isReadable(received)
    expect(received.length).toBe(bytes.length)
    expect(leaked(bytes.join())).toEqual([])
  })

  test('the same into a window, to the receiver of the package', async () => {
    const { page, opened, open, bytes } = twoWindows()
    const received: InspectorEvent[] = []
    const { inspect, stop } = createInspector({ window: page })
    endings.push(stop)
    await troubledLine(inspect)
    await soon(() => expect(open).toHaveBeenCalledWith('https://stately.ai/inspect', 'xstateinspector'))
    const receiver = createBrowserReceiver({ window: opened })
    receiver.subscribe((event) => void received.push(event as never))
    await soon(() => expect(received.some(isEnd)).toBe(true))
    isReadable(received)
    expect(received.length).toBe(bytes.length)
    expect(leaked(bytes.join())).toEqual([])
  })

  test('of the machines around it the chart, states and event types do; what they know, are given and give does not', async () => {
    const { told, adapter } = recorder()
    const { inspect } = createInspector({ adapter })
    let all = ''
    const job = fromPromise(async ({ input }: { input: string }) => ({
      [secret('output-key')]: `${input}${secret('output')}`,
    }))
    const failing = fromPromise<string, string>(async () => {
      throw new ConnectionError('http', secret('error'), { cause: secret('cause'), status: 418 })
    })
    const counter = fromTransition((count: object) => count, { state: secret('transition-context') })
    const listener = fromCallback<{ type: string; text: string }, string>(() => {})
    const numbers = fromObservable(() => ({
      subscribe(...observer: Parameters<typeof toObserver>) {
        toObserver(...observer).next?.(secret('observed') as never)
        return { unsubscribe() {} }
      },
    }))
    const machine = setup({
      types: {} as { context: { list: unknown[]; attempt: number }; input: string },
      actors: { job, failing, counter, listener, numbers },
      actions: { note: (_, _params: { text: string }) => {} },
    }).createMachine({
      // The id and the names of what is ours give nobody the trust that ours have.
      id: 'connection',
      context: ({ input, spawn }) => ({
        attempt: 13_371_337,
        list: [
          input,
          secret('context'),
          spawn('job', { id: secret('spawned'), systemId: secret('systemId'), input: secret('child-input') }),
          spawn('job', { id: '1', input: '' }),
          spawn('counter', { id: secret('spawned-counter'), syncSnapshot: true }),
        ],
      }),
      meta: { text: secret('meta') },
      description: secret('description'),
      output: { text: secret('machine-output') },
      invoke: [
        { src: 'listener', id: 'listener', input: secret('listener-input') },
        { src: 'numbers', input: secret('observable-input') },
      ],
      initial: 'busy',
      states: {
        busy: {
          entry: { type: 'note', params: { text: secret('params') } },
          invoke: { src: 'job', input: secret('inline-input'), onDone: 'failing' },
        },
        failing: {
          on: { ask: { guard: { type: 'xstate.guard', params: { text: secret('guard-params') } } as never } },
          invoke: {
            src: 'failing',
            id: 'failing',
            input: '',
            onError: { target: 'done', meta: { m: secret('t-meta') } },
          },
        },
        done: { tags: 'settled', on: { end: 'ended', hello: { actions: assign({ list: [] }) } } },
        ended: { type: 'final' },
      },
    })
    const actor = createActor(machine, {
      input: secret('input'),
      inspect(inspection) {
        all += shown(inspection)
        inspect(inspection)
      },
    })
    actor.start()
    await soon(() => expect(actor.getSnapshot().value).toBe('done'))
    actor.send({ type: 'hello', [secret('event-key')]: { deep: [secret('event')] }, awayFor: 13_371_337 } as never)
    const persisted = actor.getPersistedSnapshot()
    actor.send({ type: 'end' } as never)
    createActor(machine, { snapshot: persisted, input: '', inspect }).start().stop()
    createActor(
      fromTransition((state: string) => state, secret('anonymous')),
      { id: secret('root'), inspect },
    )
      .start()
      .stop()
    const status = secret('status')
    const logic = {
      config: { id: secret('config') },
      transition: (snapshot: never) => snapshot,
      getInitialSnapshot: () => ({ status, value: secret('value'), tags: new Set([secret('tag')]) }) as never,
      getPersistedSnapshot: (snapshot: never) => snapshot,
    }
    const own = createActor(logic as unknown as AnyActorLogic, { inspect }).start()
    own.send({ type: 'hello' })
    const sent = JSON.stringify(told)
    expect(leaked(sent)).toEqual([])
    expect(sent).not.toContain('13371337')
    const types = told.map(({ event }) => event?.type)
    expect(types).toEqual(
      expect.arrayContaining([
        'hello',
        'xstate.promise.resolve',
        'xstate.done.actor.0.connection.busy',
        'xstate.done.actor.[redacted]',
        'xstate.error.actor.failing',
        'xstate.observable.next',
      ]),
    )
    expect(types).not.toContain('xstate.done.actor.1')
    expect(told.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['connection', 'job', 'listener', '[redacted]']),
    )
    expect(sent).toContain('"value":"failing"')
    expect(sent).toContain('"tags":["settled"]')
    expect(leaked(all)).toEqual(
      expect.arrayContaining(
        ['context', 'output', 'output-key', 'child-input', 'listener-input', 'machine-output', 'spawned', 'event']
          .concat('event-key', 'error', 'cause', 'observed', 'transition-context', 'meta', 'params', 'input')
          .map(secret),
      ),
    )
  })

  test('the id of an actor that was spawned does not leave, even where it looks like the place of an invocation', () => {
    const sent: InspectorEvent[] = []
    const { inspect } = createInspector({ adapter: { send: (event) => sent.push(event) } })
    const chat = setup({}).createMachine({ id: 'chat', initial: 'over', states: { over: { type: 'final' } } })
    const app = setup({ actors: { chat } }).createMachine({
      id: 'chat',
      invoke: [{ src: 'chat' }, { src: 'chat', id: 'named' }],
      entry: [
        assign(({ spawn }) => void spawn('chat', { id: '4915112345678.chat' })) as never,
        assign(({ spawn }) => void spawn('chat', { id: '1.chat' })) as never,
      ],
    })
    createActor(app, { inspect }).start()
    const types = sent.flatMap(({ event }) => (event ? [event.type] : [])).filter((type) => type.includes('done.actor'))
    expect(new Set(types)).toEqual(
      new Set(['xstate.done.actor.0.chat', 'xstate.done.actor.named', 'xstate.done.actor.[redacted]']),
    )
  })
})

/** A machine that is of no importance. */
const light = setup({}).createMachine({
  id: 'light',
  initial: 'off',
  states: { off: { on: { flip: 'on' } }, on: { on: { flip: 'off' } } },
})
const lit = (inspect: (event: InspectionEvent) => void) => createActor(light, { inspect }).start()
const flips = (told: readonly InspectorEvent[]) =>
  told.filter(({ type, event }) => type === '@xstate.event' && event?.type === 'flip').length

/** The package is not there, as far as a fresh copy of the inspector is concerned. */
async function withoutPackage(options: InspectorOptions) {
  vi.resetModules()
  vi.doMock('@statelyai/inspect', () => {
    throw new Error('Cannot find package')
  })
  endings.push(() => vi.doUnmock('@statelyai/inspect'))
  return (await import('holdline/inspect')).createInspector(options)
}

describe('an inspector', () => {
  test('keeps what happens before the package is loaded and the window listens, in order, up to a thousand events', async () => {
    const { page, opened, open } = twoWindows()
    const { inspect, stop } = createInspector({ window: page, url: 'https://inspector.test/' })
    endings.push(stop)
    const actor = lit(inspect)
    for (let n = 0; n < 600; n++) actor.send({ type: 'flip' })
    expect(open).not.toHaveBeenCalled()
    await soon(() => expect(open).toHaveBeenCalledWith('https://inspector.test/', 'xstateinspector'))
    actor.send({ type: 'flip' })
    const received: InspectorEvent[] = []
    createBrowserReceiver({ window: opened }).subscribe((event) => void received.push(event as never))
    await soon(() => expect(received.length).toBe(1_000))
    actor.send({ type: 'flip' })
    await soon(() => expect(received.length).toBe(1_002))
    expect(received.map(({ type }) => type)).toEqual(
      Array.from({ length: 1_002 }, (_, n) => (n % 2 ? '@xstate.snapshot' : '@xstate.event')),
    )
    const values = received.flatMap(({ snapshot }) => (snapshot as { value?: string } | undefined)?.value ?? [])
    expect(values.every((value, n) => n === 0 || value !== values[n - 1])).toBe(true)
  })

  test('shows its page in an iframe, where one is given', async () => {
    const { page, opened, open } = twoWindows()
    const iframe = Object.assign(page.document.createElement('div') as unknown as HTMLIFrameElement, {
      contentWindow: opened,
    })
    const { inspect, stop } = createInspector({ window: page, iframe })
    endings.push(stop)
    const actor = lit(inspect)
    await soon(() => expect(iframe.getAttribute('src')).toBe('https://stately.ai/inspect'))
    iframe.dispatchEvent(new (page as unknown as Window).Event('load') as never)
    const received: InspectorEvent[] = []
    createBrowserReceiver({ window: opened }).subscribe((event) => void received.push(event as never))
    actor.send({ type: 'flip' })
    await soon(() => expect(flips(received)).toBe(1))
    expect(open).not.toHaveBeenCalled()
  })

  test('takes an adapter of your own, and does not need the package then', async () => {
    const { told, adapter } = recorder()
    const onError = vi.fn()
    const { inspect } = await withoutPackage({ adapter, onError })
    lit(inspect).send({ type: 'flip' })
    expect(flips(told)).toBe(1)
    expect(onError).not.toHaveBeenCalled()
  })

  test('says what to install where the package is missing, and harms no machine', async () => {
    const onError = vi.fn<(error: ConnectionError) => void>()
    const { inspect } = await withoutPackage({ url: 'ws://127.0.0.1:9', onError })
    const actor = lit(inspect)
    await soon(() => expect(onError).toHaveBeenCalledOnce())
    expect(onError.mock.calls[0]?.[0]).toMatchObject({
      name: 'ConnectionError',
      code: 'invalid-option',
      message: expect.stringContaining('npm install @statelyai/inspect'),
      cause: expect.anything(),
    })
    actor.send({ type: 'flip' })
    expect(actor.getSnapshot().value).toBe('on')
  })

  test('warns where nobody asked to be told of its end', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    await withoutPackage({ url: 'ws://127.0.0.1:9' })
    await soon(() =>
      expect(warn).toHaveBeenCalledWith(expect.any(String), expect.objectContaining({ code: 'invalid-option' })),
    )
  })

  test('cannot open a page where there is no window', () => {
    expect(() => createInspector({ url: 'https://stately.ai/inspect' })).toThrow(
      expect.objectContaining({ code: 'invalid-option', message: expect.stringContaining('url') }),
    )
  })

  test('is told when the browser has blocked its window', async () => {
    const { page, open } = twoWindows()
    open.mockReturnValue(null)
    const onError = vi.fn()
    createInspector({ window: page, onError })
    await soon(() => expect(onError).toHaveBeenCalledWith(expect.objectContaining({ code: 'invalid-option' })))
  })

  test.each(['start', 'send'] as const)('that throws in %s stops itself and no machine, and says so once', (step) => {
    vi.spyOn(console, 'warn').mockImplementation(() => {})
    const { told, adapter } = recorder()
    const throws = () => {
      throw new Error('out of order')
    }
    const onError = vi.fn<(error: ConnectionError) => void>(throws)
    const { inspect, stop } = createInspector({ adapter: { ...adapter, [step]: throws }, onError })
    const actor = lit(inspect)
    actor.send({ type: 'flip' })
    expect(actor.getSnapshot()).toMatchObject({ status: 'active', value: 'on' })
    stop()
    const { length } = told
    actor.send({ type: 'flip' })
    expect(told.length).toBe(length)
    expect(onError.mock.calls.map(([{ code }]) => code)).toEqual(['listener-failed'])
  })

  test('can be stopped even where the adapter throws at that', () => {
    const onError = vi.fn()
    const throws = () => {
      throw new Error('out of order')
    }
    createInspector({ adapter: { ...recorder().adapter, stop: throws }, onError }).stop()
    expect(onError).not.toHaveBeenCalled()
  })

  test('is not brought down by an event that cannot be read', () => {
    const onError = vi.fn()
    const { inspect } = createInspector({ ...recorder(), onError })
    const actor = lit(inspect)
    inspect({ type: '@xstate.event' } as never)
    expect(onError).toHaveBeenCalledOnce()
    actor.send({ type: 'flip' })
    expect(actor.getSnapshot().value).toBe('on')
  })
})

describe('after stop()', () => {
  test('nothing is told, and stopping again does nothing', () => {
    const { told, adapter } = recorder()
    const onStop = vi.fn()
    const { inspect, stop } = createInspector({ adapter: { ...adapter, stop: onStop } })
    const actor = lit(inspect)
    stop()
    stop()
    const { length } = told
    actor.send({ type: 'flip' })
    expect(told.length).toBe(length)
    expect(onStop).toHaveBeenCalledOnce()
  })

  test('a package that is still being loaded opens nothing', async () => {
    const { page, open } = twoWindows()
    createInspector({ window: page }).stop()
    const { open: later, page: other } = twoWindows()
    const { stop } = createInspector({ window: other })
    endings.push(stop)
    await soon(() => expect(later).toHaveBeenCalled())
    expect(open).not.toHaveBeenCalled()
  })

  test('a window that reports back gets nothing, as it would from the package alone', async () => {
    const told = async (start: (page: globalThis.Window) => { inspect: InspectorSink; stop(): void }) => {
      const { page, opened, open, bytes } = twoWindows()
      const { inspect, stop } = start(page)
      const actor = lit(inspect)
      actor.send({ type: 'flip' })
      await soon(() => expect(open).toHaveBeenCalled())
      createBrowserReceiver({ window: opened })
      await soon(() => expect(bytes.join()).toContain('flip'))
      stop()
      bytes.length = 0
      createBrowserReceiver({ window: opened })
      await (page as unknown as Window).happyDOM.waitUntilComplete()
      return bytes.length
    }
    expect(await told((page) => createInspector({ window: page }))).toBe(0)
    const alone = await told((page) => {
      const theirs = createBrowserInspector({ window: page })
      return { inspect: (event) => theirs.inspect.next?.(event), stop: theirs.stop }
    })
    expect(alone).toBeGreaterThan(0)
  })

  test('a server has everything that was told before', async () => {
    const { url, bytes } = await relay()
    const { inspect, stop } = createInspector({ url })
    const actor = lit(inspect)
    await soon(() => expect(bytes.length).toBe(3))
    actor.send({ type: 'flip' })
    stop()
    // What was told just before it still arrives.
    await soon(() => expect(bytes.at(-1)).toContain('"value":"on"'))
  })

  test('no socket is left, even where the server says no goodbye', async () => {
    const { url, clients } = await relay()
    const connect = vi.spyOn(net, 'connect')
    const { stop } = createInspector({ url })
    endings.push(stop)
    await soon(() => expect(clients.size).toBe(1))
    // It reads no more, so it never answers the close frame.
    for (const client of clients) client.pause()
    stop()
    expect(connect.mock.results.map(({ value }) => (value as net.Socket).destroyed)).toEqual([true])
  })

  test('no timer is left, whether the server was there, was gone or was never there', async () => {
    const { url, clients, close, port } = await relay()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const connected = createInspector({ url })
    await turnsUntil(() => clients.size === 1)
    connected.stop()
    expect(vi.getTimerCount()).toBe(0)

    const dropped = createInspector({ url })
    const { told } = recorder()
    lit(dropped.inspect)
    await turnsUntil(() => clients.size === 1)
    await close()
    await turnsUntil(() => vi.getTimerCount() === 1)
    // It tries again, and finds nobody.
    vi.advanceTimersByTime(5_000)
    expect(vi.getTimerCount()).toBe(0)
    await turnsUntil(() => vi.getTimerCount() === 1)
    // Then somebody is there.
    const again = await relay(port)
    vi.advanceTimersByTime(5_000)
    await turnsUntil(() => again.bytes.some((text) => text.includes('light')))
    dropped.stop()
    expect(vi.getTimerCount()).toBe(0)
    await again.close()

    const alone = createInspector({ url })
    await turnsUntil(() => vi.getTimerCount() === 1)
    alone.stop()
    expect(vi.getTimerCount()).toBe(0)
    expect(told).toEqual([])
  })

  test('a socket that is still being opened is given up', async () => {
    const { url, clients } = await relay()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const uncaught = vi.fn()
    process.on('uncaughtException', uncaught)
    endings.push(() => process.off('uncaughtException', uncaught))
    const { stop } = createInspector({ url })
    // The package is loaded, the handshake is not done.
    await import('@statelyai/inspect')
    await turns(1)
    stop()
    await turns(50)
    expect(clients.size).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
    expect(uncaught).not.toHaveBeenCalled()
  })
})

type InspectorSink = (event: InspectionEvent) => void

/** Turns of the event loop, while timers are fake. */
async function turns(count: number) {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
async function turnsUntil(isMet: () => boolean) {
  for (let turn = 0; turn < 20_000 && !isMet(); turn++) await turns(1)
  expect(isMet()).toBe(true)
}
