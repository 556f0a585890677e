import { fileURLToPath } from 'node:url'
import { createContext, runInContext } from 'node:vm'
import { buildSync } from 'esbuild'
import { createParser } from 'eventsource-parser'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** The parts of ECMAScript that Hermes lacks; it has all else that V8 puts into a context. */
const NOT_IN_HERMES = `
  for (const name of ['Atomics', 'SharedArrayBuffer', 'WebAssembly', 'Iterator', 'Temporal']) delete globalThis[name]
  for (const [owner, names] of [
    [Symbol, ['dispose', 'asyncDispose']],
    [Array, ['fromAsync']],
    [Object, ['groupBy']],
    [Map, ['groupBy']],
    [Promise, ['withResolvers', 'try']],
  ]) for (const name of names) delete owner[name]
`

/**
 * The globals of React Native 0.76, by its Libraries/Core/setUp*.js: no document, location, addEventListener, localStorage, EventSource, crypto,
 * Event, EventTarget, DOMException, TextDecoder, ReadableStream, structuredClone, no body of a Response, and as AbortController the
 * package of that name, version 3, which knows no reasons, no throwIfAborted and no statics.
 */
const PRELUDE = `
  var window = globalThis, self = globalThis, global = globalThis
  var navigator = { product: 'ReactNative' }
  var process = { env: { NODE_ENV: 'production' } }
  var performance = { now: () => Date.now() }
  class AbortSignal {
    onabort = null
    #aborted = false
    #listeners = []
    get aborted() { return this.#aborted }
    addEventListener(type, listener) { this.#listeners.push(listener) }
    removeEventListener(type, listener) { this.#listeners = this.#listeners.filter((other) => other !== listener) }
    static abortOf(signal) {
      if (signal.#aborted) return
      signal.#aborted = true
      signal.onabort?.({ type: 'abort' })
      for (const listener of signal.#listeners) listener({ type: 'abort' })
    }
  }
  const { abortOf } = AbortSignal
  delete AbortSignal.abortOf
  globalThis.AbortSignal = AbortSignal
  globalThis.AbortController = class AbortController {
    signal = new AbortSignal()
    abort() { abortOf(this.signal) }
  }
  // It checks nothing, and puts a slash at the end.
  globalThis.URL = class URL {
    constructor(url, base) {
      if (base) throw new TypeError('Invalid base URL: ' + base)
      this.href = url.endsWith('/') || /[?#]/.test(url) ? url : url + '/'
    }
    get protocol() { throw new Error('URL.protocol is not implemented') }
  }
  globalThis.Headers = class Headers {
    map = {}
    constructor(init = {}) {
      if (init instanceof Headers) init.forEach((value, name) => this.set(name, value))
      else for (const name of Object.keys(init)) this.set(name, init[name])
    }
    set(name, value) {
      if (!/^[\\w!#$%&'*+.^\`|~-]+$/.test(name)) throw new TypeError('Invalid character in header field name')
      this.map[name.toLowerCase()] = String(value)
    }
    get(name) { return this.map[name.toLowerCase()] ?? null }
    has(name) { return name.toLowerCase() in this.map }
    forEach(callback) { for (const name of Object.keys(this.map)) callback(this.map[name], name, this) }
    *entries() { yield* Object.entries(this.map) }
    [Symbol.iterator]() { return this.entries() }
  }
  globalThis.Request = class Request {}
  globalThis.Response = class Response {
    constructor(text, { status, headers, url }) {
      Object.assign(this, { status, headers: new Headers(headers), url, ok: status >= 200 && status < 300, type: 'default', bodyUsed: false })
      this.text = async () => text
      this.json = async () => JSON.parse(text)
    }
  }
  globalThis.fetch = (input, { method = 'GET', headers, body, signal } = {}) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(Object.assign(new Error('Aborted'), { name: 'AbortError' }))
      const abort = host.request(String(input), method, new Headers(headers).map, body, (failed, text, status, fields, url) =>
        failed ? reject(new TypeError('Network request failed')) : resolve(new Response(text, { status, headers: fields, url })))
      signal?.addEventListener('abort', () => {
        abort()
        reject(Object.assign(new Error('Aborted'), { name: 'AbortError' }))
      })
    })
`

/** The client and the recipe, bundled as Metro does, in a world that has exactly what React Native has. */
export function reactNative(options: { readonly hasRandom?: boolean } = {}) {
  const { hasRandom = true } = options
  const { outputFiles } = buildSync({
    stdin: {
      contents:
        "export { createConnection } from './src/index.ts'\nexport { persist } from './src/storage/index.ts'\nexport * from './examples/recipes/react-native/connection.ts'",
      resolveDir: root,
    },
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'app',
    target: 'es2020',
    external: ['eventsource'],
  })
  const warnings: string[] = []
  const context = createContext({
    host: { request },
    console: { ...console, warn: (...words: unknown[]) => warnings.push(words.map(String).join(' ')) },
    ...{ setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, queueMicrotask, TextEncoder },
    ...(hasRandom && { crypto: { getRandomValues: <T>(bytes: T) => crypto.getRandomValues(bytes as never) } }),
  })
  runInContext(`${NOT_IN_HERMES}\n${PRELUDE}\n${outputFiles[0]?.text}\nglobalThis.app = app`, context)
  return {
    app: context.app as typeof import('../../index') &
      typeof import('../../storage') &
      typeof import('../../../examples/recipes/react-native/connection'),
    warnings,
  }
}

/** The native side of an XMLHttpRequest: its answer comes as a whole. */
function request(
  url: string,
  method: string,
  headers: Record<string, string>,
  body: string | undefined,
  done: (failed: boolean, text?: string, status?: number, headers?: object, url?: string) => void,
) {
  const abort = new AbortController()
  fetch(url, { method, headers: { ...headers }, ...(body !== undefined && { body }), signal: abort.signal })
    .then(async (answer) => [await answer.text(), answer] as const)
    .then(
      ([text, { status, headers, url }]) => done(false, text, status, Object.fromEntries(headers), url),
      () => done(true),
    )
  return () => abort.abort()
}

/** As `react-native-sse` is: it reads while it comes, an end is `done`, and it would come back by itself unless told not to. */
export class SseEventSource {
  readonly #listeners = new Map<string, ((event: object) => void)[]>()
  readonly #abort = new AbortController()
  constructor(url: string, { headers, pollingInterval = 5_000 }: { headers: object; pollingInterval?: number }) {
    if (pollingInterval) throw new Error('its own retry would race')
    void this.#read(url, { ...headers })
  }
  async #read(url: string, headers: Record<string, string>) {
    try {
      const { status, body } = await fetch(url, {
        headers: { ...headers, Accept: 'text/event-stream' },
        signal: this.#abort.signal,
      })
      if (status !== 200 || !body) return this.#tell('error', { type: 'error', xhrStatus: status, message: '' })
      this.#tell('open', { type: 'open' })
      const parser = createParser({
        onEvent: ({ event: type = 'message', data }) => this.#tell(type, { type, data, lastEventId: null, url }),
      })
      const decoder = new TextDecoder()
      for await (const bytes of body) parser.feed(decoder.decode(bytes as Uint8Array, { stream: true }))
      this.#tell('done', { type: 'done' })
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#tell('error', { type: 'error', xhrStatus: 0, message: String(error) })
    }
  }
  #tell(type: string, event: object) {
    if (!this.#abort.signal.aborted) for (const listener of this.#listeners.get(type) ?? []) listener(event)
  }
  addEventListener(type: string, listener: (event: never) => void) {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener as (event: object) => void])
  }
  close() {
    this.#abort.abort()
  }
}
