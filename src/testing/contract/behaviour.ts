import type { Verdict } from '../../connection/messages'
import type { ConnectionOptions } from '../../connection/options'
import type { ContractCase, ContractPromise } from './case'
import { ContractLine } from './contractLine'

/** Deep equality by JSON is enough for what is compared here. */
export function expectEqual(actual: unknown, expected: unknown, what: string) {
  const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (found !== wanted) throw new Error(`${what}: ${found}, not ${wanted}`)
}
export function expectTrue(holds: unknown, what: string) {
  if (!holds) throw new Error(what)
}

export const behaviour = (
  name: string,
  use: (line: ContractLine) => Promise<void>,
  { needs, ...options }: Partial<ConnectionOptions> & { readonly needs?: ContractPromise } = {},
): ContractCase => ({
  name,
  ...(needs && { needs }),
  async run(serve) {
    const line = await ContractLine.open(serve, options)
    try {
      await use(line)
      expectEqual(line.server.surprises.map(String), [], 'errors inside the server')
      // The server may hear of the end of a stream after it heard of the next one.
      await line.until('I1: a single stream is left', () => line.server.streams <= 1)
      const early = line.server.requests.find(({ key, phase }) => key !== null && phase !== 'open')
      expectTrue(
        !early || early.phase === 'backoff' || early.phase === 'connecting' || early.phase === 'idle',
        'I3: a send arrived before the line was open',
      )
      const lifecycle = line.told.map(([event]) => event).filter((event) => event === 'opened' || event === 'closed')
      expectTrue(
        lifecycle.every((event, index) => event === (index % 2 ? 'closed' : 'opened')),
        `I7: ${lifecycle}`,
      )
    } finally {
      await line.close()
    }
  },
})

export const range = (to: number, from = 1) => Array.from({ length: to - from + 1 }, (_, index) => from + index)
export const json = (status: number, answer: object, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(answer), { status, headers: { 'content-type': 'application/json', ...headers } })
export const publishes = async (line: ContractLine, count: number, sessionId = 's1') => {
  for (let n = 0; n < count; n++) await line.server.publish(sessionId)
}
export const phases = (line: ContractLine) =>
  line.told.flatMap(([name, event]) => (name === 'phase' ? [event.phase] : []))
export const closings = (line: ContractLine) =>
  line.told.flatMap(([name, event]) => (name === 'closed' ? [event.reason] : []))
export const sessions = (line: ContractLine) =>
  line.told.flatMap(([name, event]) => (name === 'session' ? [event] : []))
/** Once. */
export const first = <Value>(value: Value, otherwise: Value) => {
  let isFirst = true
  return () => {
    const now = isFirst ? value : otherwise
    isFirst = false
    return now
  }
}
export const errorOf = (verdict: Verdict) => [verdict.status, 'error' in verdict && verdict.error.code]
