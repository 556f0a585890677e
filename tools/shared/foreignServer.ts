import { type ConnectionOptions, createConnection } from 'holdline'
import { runServerContract } from 'holdline/testing'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { cuttable } from '../field/runtimes/cuttable'

/** A server of `examples/servers`, on a port of 127.0.0.1. */
export interface ForeignServer {
  readonly port: number
  /** Ends it as its host would, and starts it on the same port again. */
  restart(): Promise<void>
  /** Kills it, and starts it again. Only where its log outlives that. */
  readonly crash?: () => Promise<void>
  /** Ends it as its host would; it may have ended before. */
  stop(): Promise<void>
}

/** A slow machine needs seconds; what does not come in this time does not come. */
const SOON = { timeout: 20_000, interval: 10 }

/** A real client of a user, and what it hears. */
function connect(port: number, user: string, options: Partial<ConnectionOptions> = {}) {
  const connection = createConnection({
    url: `http://127.0.0.1:${port}/api/chat`,
    headers: user ? { Authorization: `Bearer ${user}` } : { 'X-Nobody': '1' },
    backoff: { base: 20, cap: 200 },
    ...options,
  })
  const heard: unknown[] = []
  const told: unknown[] = []
  const closed: string[] = []
  connection.on('message', ({ sessionId, seq, type, text }) => heard.push(`${sessionId} ${seq} ${type}: ${text}`))
  connection.on('session', ({ sessionId, status }) => told.push(`${sessionId} ${status}`))
  connection.on('closed', ({ reason }) => closed.push(reason))
  connection.on('stopped', ({ error }) => closed.push(error.code))
  connection.on('error', () => {})
  connection.connect()
  const say = (sessionId: string, prompt: string, id?: string) =>
    connection.send({ type: 'send', sessionId, prompt }, id === undefined ? {} : { id }).settled
  return { connection, heard, told, closed, say }
}

/** What one prompt makes, as the `first` event of its session and the next. */
const eventsOf = (sessionId: string, first: number, prompt: string) => [
  `${sessionId} ${first} prompt: ${prompt}`,
  `${sessionId} ${first + 1} answer: You said: ${prompt}`,
]

/** What a case works with. */
interface World {
  readonly server: ForeignServer
  /** Whether the log outlives a restart. */
  readonly keepsLog: boolean
  /** Of a user, `ann` where none is named. It ends with the case. */
  client(user?: string, options?: Partial<ConnectionOptions>, port?: number): Line
  /** A way to the server that can be cut. */
  way(): Promise<{ readonly port: number; cut(): void }>
}
type Line = ReturnType<typeof connect>

let sessions = 0
function newSession() {
  sessions += 1
  return `s${sessions}`
}

interface Case {
  readonly title: string
  readonly needsLog?: boolean
  run(world: World): Promise<void>
}

const CASES: readonly Case[] = [
  {
    title: 'a prompt is accepted with its receipt, and what comes of it is heard in order',
    async run({ client }) {
      const id = newSession()
      const { connection, heard, say } = client()
      connection.watch(id)
      expect(await say(id, 'hi')).toMatchObject({ status: 'accepted', receipt: { taken: true } })
      expect(await say(id, 'Grüße 🙂')).toMatchObject({ status: 'accepted' })
      await expect.poll(() => heard, SOON).toEqual([...eventsOf(id, 1, 'hi'), ...eventsOf(id, 3, 'Grüße 🙂')])
    },
  },
  {
    title: 'a line that is cut is resumed: nothing is lost meanwhile, and nothing comes twice',
    async run({ client, way }) {
      const id = newSession()
      const { port, cut } = await way()
      const { connection, heard, say, closed } = client('ann', {}, port)
      const other = client()
      connection.watch(id)
      await say(id, 'one')
      await expect.poll(() => heard.length, SOON).toBe(2)
      for (const prompt of ['two', 'three', 'four']) {
        cut()
        await other.say(id, prompt)
        await expect.poll(() => heard.at(-1), SOON).toContain(prompt)
      }
      expect(await say(id, 'five')).toMatchObject({ status: 'accepted' })
      await expect.poll(() => heard.length, SOON).toBe(10)
      const prompts = ['one', 'two', 'three', 'four', 'five']
      expect(heard).toEqual(prompts.flatMap((prompt, index) => eventsOf(id, 2 * index + 1, prompt)))
      expect(closed.length).toBeGreaterThanOrEqual(3)
    },
  },
  {
    title:
      'a client that comes with a cursor is sent what is after it, and one whose cursor is of another life is reset',
    async run({ client }) {
      const id = newSession()
      const first = client()
      first.connection.watch(id)
      await first.say(id, 'one')
      await first.say(id, 'two')
      await expect.poll(() => first.heard.length, SOON).toBe(4)
      const cursor = { ...first.connection.cursor(id), sessionId: id, lastSeq: 2 }
      const second = client('ann', { cursors: [cursor] })
      await expect.poll(() => second.heard, SOON).toEqual(eventsOf(id, 3, 'two'))
      const third = client('ann', { cursors: [{ ...cursor, epoch: 'another' }] })
      await expect.poll(() => third.told, SOON).toEqual([`${id} reset`])
      expect(third.connection.cursor(id)).toMatchObject({ lastSeq: 4, epoch: cursor.epoch })
    },
  },
  {
    title: 'a message that comes again under its id is answered as it was, and is not run again',
    async run({ client }) {
      const id = newSession()
      const key = `key-${id}`
      const first = client()
      const second = client()
      first.connection.watch(id)
      const verdicts = [await first.say(id, 'once', key), await second.say(id, 'once', key)]
      for (const verdict of verdicts) expect(verdict).toMatchObject({ status: 'accepted', receipt: { taken: true } })
      expect(await second.say(id, 'other', key)).toMatchObject({ status: 'rejected', error: { status: 409 } })
      await first.say(id, 'last')
      await expect.poll(() => first.heard, SOON).toEqual([...eventsOf(id, 1, 'once'), ...eventsOf(id, 3, 'last')])
    },
  },
  {
    title: 'who watches a session before it is anybody’s hears nothing of it once it is another’s',
    async run({ client }) {
      const [early, own] = [newSession(), newSession()]
      const bob = client('bob')
      bob.connection.watch(early)
      bob.connection.watch(own)
      await bob.say(own, 'mine')
      await expect.poll(() => bob.heard.length, SOON).toBe(2)
      const ann = client('ann')
      ann.connection.watch(early)
      await ann.say(early, 'secret')
      await expect.poll(() => ann.heard.length, SOON).toBe(2)
      await bob.say(own, 'again')
      const wanted = [...eventsOf(own, 1, 'mine'), ...eventsOf(own, 3, 'again')]
      await expect.poll(() => bob.heard, SOON).toEqual(wanted)
    },
  },
  {
    title: 'two sessions share a line, and one that is left is heard no more',
    async run({ client }) {
      const [a, b] = [newSession(), newSession()]
      const { connection, heard, say } = client()
      connection.watch(a)
      const leave = connection.watch(b)
      await say(a, 'to a')
      await say(b, 'to b')
      await expect.poll(() => heard, SOON).toEqual([...eventsOf(a, 1, 'to a'), ...eventsOf(b, 1, 'to b')])
      leave()
      const other = client()
      await other.say(b, 'unheard')
      await say(a, 'heard')
      await expect.poll(() => heard.at(-1), SOON).toContain('heard')
      expect(heard.slice(4)).toEqual(eventsOf(a, 3, 'heard'))
    },
  },
  {
    title: 'another user may neither read nor write a session, and nobody without a name gets a line',
    async run({ client }) {
      const id = newSession()
      const ann = client('ann')
      ann.connection.watch(id)
      await ann.say(id, 'secret')
      const bob = client('bob')
      bob.connection.watch(id)
      await expect.poll(() => bob.told, SOON).toEqual([`${id} forbidden`])
      expect(await bob.say(id, 'hi')).toMatchObject({ status: 'rejected', error: { code: 'forbidden' } })
      await ann.say(id, 'more')
      await expect.poll(() => ann.heard.length, SOON).toBe(4)
      expect(bob.heard).toEqual([])
      const nobody = client('')
      await expect.poll(() => nobody.closed, SOON).toEqual(['unauthorized'])
    },
  },
  {
    title:
      'a restart says goodbye and, with its log, loses nothing; without, the app is told; what is sent meanwhile is run once',
    async run({ server, keepsLog, client }) {
      const id = newSession()
      const { connection, heard, told, closed, say } = client()
      connection.watch(id)
      await say(id, 'before')
      await expect.poll(() => heard.length, SOON).toBe(2)
      const restarting = server.restart()
      await expect.poll(() => closed, SOON).toContain('goodbye')
      const during = say(id, 'during')
      await restarting
      expect(await during).toMatchObject({ status: 'accepted' })
      await expect.poll(() => heard.length, SOON).toBe(4)
      expect(heard).toEqual([...eventsOf(id, 1, 'before'), ...eventsOf(id, keepsLog ? 3 : 1, 'during')])
      expect(told.includes(`${id} reset`)).toBe(!keepsLog)
    },
  },
  {
    title: 'a crash loses nothing that anybody has heard of, and no prompt is run twice',
    needsLog: true,
    async run({ server, client }) {
      const id = newSession()
      const key = `key-${id}`
      const { connection, heard, told, say } = client()
      connection.watch(id)
      await say(id, 'before', key)
      await expect.poll(() => heard.length, SOON).toBe(2)
      await server.crash?.()
      expect(await client().say(id, 'before', key)).toMatchObject({ status: 'accepted', receipt: { taken: true } })
      expect(await say(id, 'after')).toMatchObject({ status: 'accepted' })
      await expect.poll(() => heard, SOON).toEqual([...eventsOf(id, 1, 'before'), ...eventsOf(id, 3, 'after')])
      expect(told).not.toContain(`${id} reset`)
    },
  },
]

/**
 * Each case, for the real client, and the contract of servers. Describes tests, so it is to be
 * called in a `describe`.
 */
export function testForeignServer(start: () => Promise<ForeignServer>, { keepsLog }: { readonly keepsLog: boolean }) {
  let server: ForeignServer
  const opened: (() => unknown)[] = []
  beforeAll(async () => {
    server = await start()
  })
  afterEach(async () => {
    for (const close of opened.splice(0).reverse()) await close()
  })
  afterAll(() => server?.stop())

  test('keeps the rules of docs/protocol.md', async () => {
    const own = await start()
    opened.push(own.stop)
    const reports = await runServerContract({
      url: `http://127.0.0.1:${own.port}/api/chat`,
      headers: { Authorization: 'Bearer ann' },
      secondUser: { Authorization: 'Bearer bob' },
      events: 2,
      goodbye: () => own.stop(),
    })
    const broken = reports.filter(({ outcome, level }) => outcome === 'failed' && level === 'must')
    expect(broken.map(({ number, why }) => `${number} ${why}`)).toEqual([])
    expect(reports.filter(({ outcome }) => outcome === 'passed').length).toBeGreaterThan(50)
  }, 120_000)

  for (const { title, needsLog = false, run } of CASES) {
    test.skipIf(needsLog && !keepsLog)(title, () =>
      run({
        server,
        keepsLog,
        client(user = 'ann', options = {}, port = server.port) {
          const line = connect(port, user, options)
          opened.push(line.connection.dispose)
          return line
        },
        async way() {
          const way = await cuttable(server.port)
          opened.push(way.close)
          return way
        },
      }),
    )
  }
}
