import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { Lanes } from '../../server/command/lanes'
import { GRACE } from '../../server/command/presence'
import { createSockets, type ServerSocket } from '../support/gateway'
import { withBudgets } from '../support/memory'
import { BASE, createTestServer, manualCommands, openStream, range, settle } from '../support/server'

// ACCOUNTS=8000 is the number of runs.
const RUNS = Number(process.env.ACCOUNTS ?? 60)

const as = fc.constantFrom('alice', 'bob')
const which = fc.nat(3)
const call = {
  which,
  endpoint: fc.constantFrom('send', 'stop', 'batch', 'watch', 'reconnect', 'unwatch', 'suspend', 'probe'),
  kind: fc.constantFrom('ok', 'large', 'bad'),
  key: fc.constantFrom('k1', 'k2', 'k3', 'k4'),
  lane: fc.constantFrom(undefined, 'a', 'b', '__proto__', '', 'x\n'),
}
const does = <D extends string, T extends object>(
  name: D,
  fields: { [K in keyof T]: fc.Arbitrary<T[K]> },
  weight = 1,
) => ({
  weight,
  arbitrary: fc.record({ do: fc.constant(name), ...fields }) as unknown as fc.Arbitrary<{ do: D } & T>,
})
const step = fc.oneof(
  does('open', { as }),
  does('connect', { as }),
  does('post', call, 4),
  does('frame', call, 4),
  does('abort', { n: fc.nat(20) }),
  does('end', { n: fc.nat(2) }, 2),
  does('cancel', { which }),
  does('vanish', { which }),
  does('clog', { which, bytes: fc.constantFrom(0, 300_000) }),
  does('revoke', { as }),
  does('wait', { ms: fc.constantFrom(1, 500, 1_000, GRACE, 100_000) }, 2),
)
type Call = {
  readonly endpoint: string
  readonly kind: string
  readonly key: string
  readonly lane: string | undefined
}

function bodyOf({ endpoint, kind, key, lane }: Call): object {
  if (kind === 'bad') return { type: 'x', sessionId: 1 }
  const body = {
    type: endpoint === 'suspend' ? 'session_suspend' : endpoint,
    sessionId: key === 'k4' ? undefined : 'room',
    lastSeq: 0,
    nonce: 'n',
    cancels: ['k1', 'k2', 'k3'],
    sessions: [{ sessionId: 'room-2', lastSeq: 0 }],
    text: kind === 'large' ? 'x'.repeat(60_000) : '漢',
  }
  const messages = range(1, 4).map((n) => {
    const type = n === 4 ? 'stop' : 'send'
    return {
      id: `k${n}`,
      endpoint: type,
      lane: n % 2 ? lane : 'c',
      body: { ...body, type, sessionId: `room-${n % 3}` },
    }
  })
  return endpoint === 'batch' ? { messages } : body
}

/** A server of which every fifth command fails, with its budgets and lanes. */
function createServer() {
  const commands = manualCommands()
  let count = 0
  const onCommand = (given: Parameters<typeof commands.onCommand>[0]) => {
    count += 1
    if (count % 5 === 0) throw new Error('not now')
    return commands.onCommand(given)
  }
  const limits = {
    memory: 320 * 262_144,
    stall: 5_000,
    receiptAge: 60_000,
    receipts: 40,
    newSessions: 5,
    replayRate: 16_384,
  }
  const join = vi.spyOn(Lanes.prototype, 'join')
  const { server: chat, budgets } = withBudgets(() => createTestServer({ onCommand, limits }))
  /** Of everybody, of each, of strangers; and lanes. */
  const held = () => {
    const lanes = join.mock.contexts[0] as Lanes | undefined
    return [budgets.process.used, ...['alice', 'bob', ''].map((id) => budgets.heldBy(id)), lanes?.size ?? 0]
  }
  return { ...chat, commands, held, forget: () => join.mockRestore() }
}

test(
  'C97 C98: over HTTP and WebSockets, alone, in lanes and batches, stopped, revoked, aborted and cut: in the end nothing is held',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { server, clock, commands, held, forget } = createServer()
        const { opens } = createSockets({ fetch: server.fetch, clock })
        const streams: Awaited<ReturnType<typeof openStream>>[] = []
        const owners: string[] = []
        const sockets: ServerSocket[] = []
        const posts: { readonly answered: Promise<Response>; readonly abort: AbortController }[] = []
        const post = (given: Call, n: number) => {
          const { endpoint, key, lane } = given
          const abort = new AbortController()
          const headers = {
            'Content-Type': 'application/json',
            Authorization: owners[n] ?? 'alice',
            'X-Connection-ID': streams[n]?.connectionId ?? 'none',
            'Idempotency-Key': key,
            ...(lane !== undefined && { 'X-Lane': encodeURIComponent(lane) }),
          }
          const body = JSON.stringify(bodyOf(given))
          const request = new Request(`${BASE}/${endpoint}`, { method: 'POST', headers, body, signal: abort.signal })
          posts.push({ answered: server.fetch(request), abort })
        }
        for (const each of steps) {
          if (each.do === 'open' && streams.length < 4) {
            streams.push(await openStream(server, each.as))
            owners.push(each.as)
          } else if (each.do === 'connect' && sockets.length < 4) sockets.push(await opens({ as: each.as }))
          else if (each.do === 'post') post(each, each.which)
          else if (each.do === 'frame') {
            const { which, endpoint, lane, key } = each
            sockets[which]?.hears({ id: key, endpoint, lane, body: bodyOf(each) })
          } else if (each.do === 'abort') posts[each.n]?.abort.abort()
          else if (each.do === 'end') for (const _ of range(0, each.n)) commands.endNext()
          else if (each.do === 'cancel') await streams[each.which]?.cancel()
          else if (each.do === 'vanish') sockets[each.which]?.vanishes()
          else if (each.do === 'clog') Object.assign(sockets[each.which] ?? {}, { bufferedAmount: each.bytes })
          else if (each.do === 'revoke') await server.revoke(each.as)
          else if (each.do === 'wait') await clock.advance(each.ms)
          await settle(1)
        }
        for (const stream of streams) await stream.cancel()
        for (const socket of sockets) socket.vanishes()
        // A command goes through a thread pool before it waits, and there is no timer for receipts:
        // they go with the next command.
        for (let turn = 0; turn < 200 && (turn === 0 || held().some(Boolean)); turn += 1) {
          await settle(1)
          commands.endNext()
          await clock.advance(200_000)
          const last = await openStream(server)
          const posted = last.post('send', { type: 'send', sessionId: 'room' }, { headers: { 'X-Lane': 'last' } })
          let isAnswered = false
          void posted.then(() => {
            isAnswered = true
          })
          while (!isAnswered) {
            commands.endNext()
            await settle(1)
          }
          await last.cancel()
          await settle()
        }
        await Promise.all(posts.map(({ answered }) => answered))
        const left = held()
        forget()
        expect(left).toEqual([0, 0, 0, 0, 0])
        expect(clock.timers).toBe(0)
      }),
      { numRuns: RUNS },
    )
  },
  60_000 + 100 * RUNS,
)
