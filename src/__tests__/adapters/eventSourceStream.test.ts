import { afterEach, describe, expect, test, vi } from 'vitest'
import type { EventSourceFactory, EventSourceSetup, StreamHandlers } from '../../adapters/eventSource'
import { defaultEventSource, openEventSource } from '../../adapters/eventSourceStream'
import { createConnection } from '../../createConnection'
import { ConnectionError } from '../../errors'
import { FakeStream, settle } from '../support/fakes'

const URL = 'http://test/events'
const SETUP: EventSourceSetup = { withCredentials: true, fetch }

afterEach(() => {
  vi.unstubAllGlobals()
  vi.doUnmock('eventsource')
  vi.resetModules()
})

function open(factory: EventSourceFactory) {
  const heard: unknown[] = []
  const handlers: StreamHandlers = {
    open: () => heard.push('open'),
    welcome: (data) => heard.push(`welcome ${data}`),
    message: (data) => heard.push(`message ${data}`),
    error: (error) => heard.push(error),
    sign: () => heard.push('sign'),
  }
  return { heard, ...openEventSource(factory, URL, SETUP, handlers) }
}

function opened() {
  const source = new FakeStream(URL)
  return { source, ...open(() => source) }
}

describe('one EventSource', () => {
  test('tells what it says; a frame without data is an empty one', () => {
    const { source, heard } = opened()
    source.opens()
    source.dispatch('welcome', { data: 'a' })
    source.dispatch('message', { data: 'b' })
    source.dispatch('message')
    expect(heard).toEqual(['open', 'welcome a', 'message b', 'message '])
  })

  test('may be made later, and is heard all the same', async () => {
    const source = new FakeStream(URL)
    const { heard } = open(async () => source)
    await settle()
    source.opens()
    expect(heard).toEqual(['open'])
  })

  test('C21: made after its stream was left, is closed, and nobody listens', async () => {
    const source = new FakeStream(URL)
    const { heard, close } = open(async () => source)
    close()
    await settle()
    source.opens()
    source.fails()
    expect([source.closed, heard]).toEqual([true, []])
  })

  test('C21: is silent after its stream was left, errors included', () => {
    const { source, heard, close } = opened()
    close()
    source.opens()
    source.sends('late')
    source.fails()
    expect([source.closed, heard]).toEqual([true, []])
  })

  test('C16: is closed at its first error, and tells no second one', () => {
    const { source, heard } = opened()
    source.fails(503)
    source.fails(503)
    expect([source.closed, heard.length]).toEqual([true, 1])
  })
})

describe('the error of a stream', () => {
  const errorOf = (event: object) => {
    const { source, heard } = opened()
    source.dispatch('error', event)
    return heard[0]
  }

  test('has the status and the words of who knows them', () => {
    const error = errorOf({ code: 503, message: 'busy' })
    expect(error).toMatchObject({ code: 'stream-failed', status: 503, retryable: true })
    expect(errorOf({ message: 'reset by peer' })).toMatchObject({ code: 'stream-failed', message: 'reset by peer' })
  })

  test('C31: is `unauthorized` for a 401', () => {
    expect(errorOf({ code: 401, message: 'who?' })).toMatchObject({ code: 'unauthorized', status: 401 })
  })

  test('of the native one, which tells nothing, says at least that it was cut', () => {
    expect(errorOf({})).toMatchObject({
      code: 'stream-failed',
      message: expect.stringMatching(/did not open/),
      status: undefined,
    })
  })

  test('has for its cause what making it threw', async () => {
    const cause = new Error('blocked by policy')
    const { heard } = open(() => Promise.reject(cause))
    await settle()
    expect(heard).toEqual([expect.objectContaining({ code: 'stream-failed', message: String(cause), cause })])
  })

  test('that has a code of its own keeps it', () => {
    const error = new ConnectionError('hook-failed', 'why')
    const { heard } = open(() => {
      throw error
    })
    expect(heard[0]).toBe(error)
  })
})

describe('C103: a stream that was redirected to another origin', () => {
  const from = (origin: unknown, type = 'welcome') => {
    const { source, heard } = opened()
    source.opens()
    source.dispatch(type, { data: 'a', origin })
    source.dispatch('message', { data: 'b', origin })
    return [source.closed, ...heard.slice(1)]
  }
  const FAILED = expect.objectContaining({
    code: 'stream-failed',
    message: expect.stringContaining('http://evil.test'),
  })

  test('has failed with its first frame, and nothing of it is heard', () => {
    expect(from('http://evil.test')).toEqual([true, FAILED])
    expect(from('http://evil.test', 'message')).toEqual([true, FAILED])
  })

  test.each(['https://test', 'http://test:8080', 'http://test.evil', 'http://tes', 'null'])(
    '%s is another origin than http://test',
    (origin) => {
      expect(from(origin)[0]).toBe(true)
    },
  )

  test('is not one of an EventSource that tells the whole URL, as that of Deno does', () => {
    expect(from('http://test/chat/events?x=1')).toEqual([false, 'welcome a', 'message b'])
    expect(from('http://evil.test/http://test/')).toEqual([true, FAILED])
  })

  test('is not one of an EventSource that tells no origin', () => {
    for (const origin of ['http://test', '', undefined]) expect(from(origin)).toEqual([false, 'welcome a', 'message b'])
  })
})

describe('C76: a look at an EventSource', () => {
  const looked = (readyState: number | undefined) => {
    const { source, heard, check } = opened()
    source.opens()
    Object.assign(source, { readyState })
    check()
    check()
    return [source.closed, ...heard.slice(1)]
  }

  test('that is closed and has told no error tells it now, once', () => {
    expect(looked(2)).toEqual([true, expect.objectContaining({ code: 'stream-failed', retryable: true })])
  })

  test('that is open, connecting, or of an implementation that does not say, changes nothing', () => {
    for (const readyState of [0, 1, undefined]) expect(looked(readyState)).toEqual([false])
  })

  test('that was left is silent', () => {
    const { source, heard, check, close } = opened()
    close()
    Object.assign(source, { readyState: 2 })
    check()
    expect(heard).toEqual([])
  })
})

describe('the EventSource that is made by default', () => {
  class Native extends FakeStream {
    constructor(
      url: string,
      readonly setup: unknown,
    ) {
      super(url)
    }
  }
  class FromPackage extends Native {}

  test('is the native one, where there is one and no header is to be sent', () => {
    vi.stubGlobal('EventSource', Native)
    expect(defaultEventSource(false)(URL, SETUP)).toEqual(new Native(URL, SETUP))
  })

  test.each([
    ['no native one', undefined, false],
    ['no native one, and headers to send,', undefined, true],
    ['a native one, and headers that it does not take,', Native, true],
  ])('with %s is the package’s, given the same', async (_, native, needsHeaders) => {
    vi.stubGlobal('EventSource', native)
    vi.doMock('eventsource', () => ({ EventSource: FromPackage }))
    const made = await defaultEventSource(needsHeaders)(URL, SETUP)
    expect(made).toBeInstanceOf(FromPackage)
    expect(made).toMatchObject({ url: URL, setup: { withCredentials: true, fetch: expect.any(Function) } })
  })

  test('is none without the package: the error names the option that helps, and why', async () => {
    vi.stubGlobal('EventSource', undefined)
    vi.doMock('eventsource', () => {
      throw new Error('not installed')
    })
    const { heard } = open(defaultEventSource(false))
    await vi.waitFor(() => expect(heard).toHaveLength(1))
    expect(heard[0]).toMatchObject({
      code: 'invalid-option',
      message: expect.stringContaining('createEventSource'),
      cause: expect.any(Error),
    })
  })
})

test.each([
  ['include', true],
  ['same-origin', false],
  ['omit', false],
] as const)('the credentials %s make an EventSource withCredentials: %s', (credentials, withCredentials) => {
  const setups: EventSourceSetup[] = []
  const createEventSource: EventSourceFactory = (_, setup) => {
    setups.push(setup)
    return { addEventListener() {}, close() {} }
  }
  const connection = createConnection({ url: 'http://test', createEventSource, credentials, pageLifecycle: false })
  connection.connect()
  connection.dispose()
  expect(setups.map((setup) => setup.withCredentials)).toEqual([withCredentials])
})
