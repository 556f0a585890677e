import { Agent, type ClientRequest, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JsonObject } from 'holdline'
import { WebSocket } from 'ws'
import { overHttp } from '../../load/remote'
import type { ServerControl } from './serverProcess'
import type { Findings, Target } from './types'

// A client without manners, over both transports: it sends JSON as text, and reads what comes or
// does not.

export interface Answer {
  /** 0: there was none. */
  readonly status: number
  readonly json: JsonObject
}

export interface Line {
  readonly connectionId: string
  /** Bytes that came down, and a listener for the frames. */
  readonly received: number
  onFrame: (frame: JsonObject) => void
  post(endpoint: string, json: string, id?: string): Promise<Answer>
  /** The same for who does not wait for the answer: resolves when it has left. */
  push(endpoint: string, json: string): Promise<void>
  /** Reads no more. */
  pause(): void
  /** At once, without a farewell. */
  cut(): void
  readonly isOver: boolean
}

const NO_ANSWER: Answer = { status: 0, json: {} }
let lastId = 0
export const freshId = () => `m${process.pid}-${++lastId}`
export const MALLORY = 'mallory'

/** Undefined if the server refuses. */
export const dial = (target: Target, as = MALLORY): Promise<Line | undefined> =>
  target.over === 'http' ? dialHttp(target, as) : dialSocket(target, as)

const agent = new Agent({ keepAlive: true, maxSockets: 1_024 })

/** A POST over HTTP. */
export function post(
  url: string,
  json: string,
  headers: Readonly<Record<string, string>>,
  onRequest: (request: ClientRequest) => void = () => {},
): Promise<Answer> {
  return new Promise((resolve) => {
    const asked = request(url, { method: 'POST', agent, headers: { 'Content-Type': 'application/json', ...headers } })
    onRequest(asked)
    asked.on('error', () => resolve(NO_ANSWER))
    asked.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('close', () => resolve({ status: response.statusCode ?? 0, json: parse(text) }))
    })
    asked.end(json)
  })
}

function dialHttp({ url }: Target, as: string): Promise<Line | undefined> {
  return new Promise((resolve) => {
    const asked = request(`${url}/events`, { agent: false, headers: { Authorization: as } })
    const line = {
      connectionId: '',
      received: 0,
      isOver: false,
      onFrame: (_: JsonObject) => {},
      post: (endpoint: string, json: string, id?: string) =>
        post(`${url}/${endpoint}`, json, {
          Authorization: as,
          'X-Connection-ID': line.connectionId,
          ...(id !== undefined && { 'Idempotency-Key': id }),
        }),
      push: (endpoint: string, json: string) =>
        new Promise<void>((resolve) => {
          const headers = { Authorization: as, 'X-Connection-ID': line.connectionId, 'Idempotency-Key': freshId() }
          const left = (posted: ClientRequest) => posted.on('finish', () => resolve()).on('close', () => resolve())
          void post(`${url}/${endpoint}`, json, headers, left)
        }),
      pause: () => void asked.socket?.pause(),
      cut: () => void asked.destroy(),
    }
    asked.on('error', () => resolve(undefined))
    asked.on('close', () => {
      line.isOver = true
      resolve(undefined)
    })
    asked.on('response', (response) => {
      if (response.statusCode !== 200) {
        asked.destroy()
        return resolve(undefined)
      }
      let rest = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        line.received += chunk.length
        const frames = (rest + chunk).split('\n\n')
        rest = frames.pop() ?? ''
        for (const frame of frames) {
          const json = parse(frame.slice(frame.indexOf('data: ') + 6))
          if (json.type === 'welcome') line.connectionId = String(json.connectionId)
          line.onFrame(json)
          if (json.type === 'welcome') resolve(line)
        }
      })
    })
    asked.end()
  })
}

export const socketUrl = ({ url }: Target) => `${url.replace('http', 'ws')}/socket`
export const hello = (authorization: unknown) =>
  JSON.stringify({ type: 'hello', protocolVersion: 2, headers: { authorization } })

function dialSocket(target: Target, as: string): Promise<Line | undefined> {
  return new Promise((resolve) => {
    const socket = new WebSocket(socketUrl(target), { perMessageDeflate: false })
    const waiting = new Map<unknown, (answer: Answer) => void>()
    const line = {
      connectionId: '',
      received: 0,
      isOver: false,
      onFrame: (_: JsonObject) => {},
      post: (endpoint: string, json: string, id = freshId()) =>
        new Promise<Answer>((settle) => {
          if (socket.readyState !== socket.OPEN) return settle(NO_ANSWER)
          waiting.set(id, settle)
          socket.send(`{"id":${JSON.stringify(id)},"endpoint":"${endpoint}","body":${json}}`)
        }),
      push: (endpoint: string, json: string) =>
        new Promise<void>((resolve) =>
          socket.send(`{"id":"${freshId()}","endpoint":"${endpoint}","body":${json}}`, () => resolve()),
        ),
      pause: () => void socket.pause(),
      cut: () => void socket.terminate(),
    }
    socket.on('error', () => resolve(undefined))
    socket.on('close', () => {
      line.isOver = true
      for (const settle of waiting.values()) settle(NO_ANSWER)
      resolve(undefined)
    })
    socket.on('open', () => socket.send(hello(as)))
    socket.on('message', (data) => {
      const text = String(data)
      line.received += text.length
      const json = parse(text)
      if (json.type === 'ack') {
        const { id, status, receipt, error } = json
        waiting.get(id)?.({ status: Number(status), json: Object(receipt ?? { error }) })
        waiting.delete(id)
      }
      if (json.type === 'welcome') line.connectionId = String(json.connectionId)
      line.onFrame(json)
      if (json.type === 'welcome') resolve(line)
    })
  })
}

function parse(text: string): JsonObject {
  try {
    return Object(JSON.parse(text))
  } catch {
    return {}
  }
}

export const control = (target: Target) => overHttp<ServerControl>(target.control)

export interface Pace {
  /** No more than this in all. */
  readonly count: number
  readonly atOnce: number
  readonly perSecond: number
}

let floods = 0
/** Whether an attack is still at it; then it has time to come to its end. */
export const isBusy = () => floods > 0

/**
 * Tasks in a row, until there were enough of them or the signal says so. Returns how many were
 * begun.
 */
export async function flood(signal: AbortSignal, pace: Pace, task: (n: number) => unknown): Promise<number> {
  const start = Date.now()
  const end = aborted(signal)
  let begun = 0
  const work = async () => {
    while (begun < pace.count && !signal.aborted) {
      const n = begun++
      const early = start + (n * 1_000) / pace.perSecond - Date.now()
      if (early > 0) await sleep(early, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      // An attacker does not wait for a server that is stuck.
      await Promise.race([task(n), end])
    }
  }
  floods += 1
  await Promise.all(Array.from({ length: pace.atOnce }, work))
  floods -= 1
  return begun
}

/** Resolves when the attack is to end. */
export const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

/** A line that is dialled anew when the server has ended it. */
export function keptLine(target: Target, as = MALLORY) {
  let line: Promise<Line | undefined> | undefined
  return async () => {
    if (!(await line) || (await line)?.isOver) line = dial(target, as)
    return line
  }
}

export const found = (facts: Findings['facts'], ...failures: readonly (string | false)[]): Findings => ({
  facts,
  failures: failures.filter((failure) => failure !== false),
})

/**
 * JSON of about so many bytes, as an array of empty objects: in memory it is twenty times as large.
 */
export const swelling = (bytes: number) => `[${'{},'.repeat(Math.max(0, Math.floor(bytes / 3) - 1))}{}]`
/** `[[[…]]]` */
export const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
export const text = (chars: number) => 'x'.repeat(chars)
/**
 * One character that is none of Latin-1 makes two bytes of each in memory; on the wire it is one
 * all the same.
 */
export const wideText = (chars: number) => `${text(chars - 1)}漢`
export const KIB = 1_024
export const MIB = 1_048_576
