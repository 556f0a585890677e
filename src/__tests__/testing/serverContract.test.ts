import { readFileSync } from 'node:fs'
import { runServerContract, type ServerReport, serverContract } from 'holdline/testing'
import { describe, expect, test } from 'vitest'
import { freePort } from '../../../tools/shared/freePort'
import { SERVER_TOPICS } from '../../testing/serverContract/case'
import { describeWithRedis } from '../support/redis'
import { redisLogs } from '../support/redisLogs'
import { endpointOf, startTalkingServer, type Tampering } from '../support/talkingServer'
import { PLANTED_SERVER_FAULTS } from './plantedServerFaults'

/** The server half numbers without holes, so it has no use for `prevSeq`. */
const NOT_PROMISED = ['P16']

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')
const protocol = read('docs/protocol.md')
const numbers = serverContract.map(({ number }) => number)

/** Later than its command has been answered. */
async function speaks(times: number, say: () => Promise<unknown>) {
  for (let n = 0; n < times; n += 1) {
    await new Promise((resolve) => setTimeout(resolve, 2))
    await say()
  }
}

const unusual = (reports: readonly ServerReport[]) =>
  reports.flatMap(({ outcome, number, why }) => (outcome === 'passed' ? [] : [{ number, outcome, why }]))

// Each case has a server of its own, and most of its time is waiting.
describe.concurrent('the server half over HTTP, its log in memory, keeps the rule', () => {
  test.each(serverContract)('$title', async ({ number, run }) => {
    const server = await startTalkingServer()
    const verdict = await run(server.options)
    await server.close()
    expect(server.surprises).toEqual([])
    expect(verdict.outcome).toBe(NOT_PROMISED.includes(number) ? 'notPromised' : 'passed')
  })
})

describeWithRedis('the server half over HTTP, its log in Redis', () => {
  const createLog = redisLogs()

  test('keeps every rule', async () => {
    const server = await startTalkingServer({ options: { log: createLog() } })
    const reports = await runServerContract(server.options)
    await server.close()
    expect(server.surprises).toEqual([])
    expect(reports).toHaveLength(serverContract.length)
    expect(unusual(reports)).toMatchObject(NOT_PROMISED.map((number) => ({ number, outcome: 'notPromised' })))
  }, 60_000)
})

describe.concurrent('a run', () => {
  test('asks nothing of a server that announces nothing but what every server owes', async () => {
    const bare = (frame: string) => frame.replace(/"features":\[.*?\]/, '"features":[]').replace(/"heartbeat":\d+,/, '')
    const server = await startTalkingServer({ frames: () => bare })
    const alike = ['origin', 'input', 'storms', 'goodbye']
    const only = SERVER_TOPICS.filter((topic) => !alike.includes(topic))
    const reports = await runServerContract(server.options, { only })
    await server.close()
    const found = unusual(reports)
    expect(found.filter(({ outcome }) => outcome !== 'notPromised')).toEqual([])
    expect(found.map(({ number }) => number)).toEqual(expect.arrayContaining(['P9', 'P19', 'P66', 'P75', 'P83', 'P85']))
  })

  test('takes a server that refuses `suspend` and `unwatch` for one that has neither', async () => {
    const refuses: Tampering = {
      answer: (request, next) =>
        ['suspend', 'unwatch'].includes(endpointOf(request))
          ? Response.json({ error: 'unknown-endpoint' }, { status: 400 })
          : next(),
      frames: () => (frame) => frame.replace(',"suspend-keeps"', '').replace('"watch-replay",', ''),
    }
    const server = await startTalkingServer(refuses)
    const reports = await runServerContract(server.options, { only: ['suspend', 'P33', 'P65'] })
    await server.close()
    expect(unusual(reports).map(({ number, outcome }) => `${number} ${outcome}`)).toEqual(
      ['P65', 'P23', 'P70', 'P71', 'P72', 'P73', 'P74', 'P87'].map((number) => `${number} notPromised`),
    )
  })

  test('skips what no option allows to try, and says which one it is', async () => {
    const server = await startTalkingServer({ options: { authenticate: () => ({ id: 'anybody' }) } })
    const { headers, secondUser, goodbye, ...options } = server.options
    const only = ['P60', 'P36', 'P37', 'P38', 'P8', 'goodbye']
    const reports = await runServerContract(options, { only })
    await server.close()
    const skipped = (number: string, option: string) => ({
      number,
      outcome: 'skipped',
      why: expect.stringContaining(option),
    })
    expect(unusual(reports)).toEqual([
      skipped('P60', '`secondUser` (--second-user)'),
      skipped('P36', '`headers` (--header, --cookie)'),
      skipped('P37', '`secondUser`'),
      skipped('P8', '`secondUser`'),
      skipped('P21', '`goodbye` (--goodbye)'),
      skipped('P42', '`goodbye`'),
    ])
  })

  test('a server may make an unknown number of events, and go on talking while others join', async () => {
    const streams: Tampering = {
      options: {
        async onCommand({ type, sessionId, message, publish }) {
          if (type !== 'send' || sessionId === undefined) return null
          await publish(sessionId, { ...message, type: 'prompt' })
          void speaks(4, () => publish(sessionId, { type: 'token' }))
          return { turn: message.prompt }
        },
      },
    }
    const server = await startTalkingServer(streams)
    const { events, ...options } = server.options
    const reports = await runServerContract(options, { only: SERVER_TOPICS.filter((topic) => topic !== 'goodbye') })
    await server.close()
    expect(server.surprises).toEqual([])
    expect(unusual(reports).map(({ number, outcome }) => `${number} ${outcome}`)).toEqual([
      'P16 notPromised',
      'P18 notPromised',
    ])
  }, 60_000)

  test('where the number of events is unknown, their texts tell that a message was applied twice', async () => {
    const [, number, tampering] = PLANTED_SERVER_FAULTS.find(([name]) => name.startsWith('remembers the answer')) ?? []
    const server = await startTalkingServer(tampering)
    const { events, ...options } = server.options
    const [report] = await runServerContract(options, { only: [String(number)] })
    await server.close()
    expect(report?.why).toMatch(/the message with "check \w+" was applied again\. P85 says: /)
  })

  test('goes no further than a session that is never heard: what rests on that is skipped', async () => {
    const mute = (frame: string) => (frame.includes('"seq":') ? '' : frame)
    const server = await startTalkingServer({ frames: () => mute })
    const only = ['P1', 'P6', 'P53', 'replay', 'watch', 'probe']
    const reports = await runServerContract({ ...server.options, timeout: 500 }, { only })
    await server.close()
    expect(unusual(reports).map(({ number, outcome }) => `${number} ${outcome}`)).toEqual([
      'P53 failed',
      'P54 skipped',
      'P55 skipped',
      'P64 skipped',
      'P65 skipped',
    ])
    expect(unusual(reports)[1]?.why).toBe('it rests on P53, which is broken')
  })

  test('goes no further than a resume that is not there: it is told once, and what rests on it is skipped', async () => {
    const page = '<!doctype html>\n<html>\n  <h1>Error</h1>\n</html>\n'
    const noResume: Tampering = {
      answer: (request, next) => (endpointOf(request) === 'reconnect' ? new Response(page, { status: 501 }) : next()),
    }
    const server = await startTalkingServer(noResume)
    const reports = await runServerContract(server.options, { only: ['P1', 'P6', 'P57', 'stream', 'welcome'] })
    await server.close()
    expect(unusual(reports)).toEqual([
      { number: 'P57', outcome: 'failed', why: expect.stringContaining('501 <!doctype html> <html> <h1>Error</h1>') },
      ...['P3', 'P13', 'P12'].map((number) => ({
        number,
        outcome: 'skipped',
        why: 'it rests on P57, which is broken',
      })),
    ])
  })

  test('a session that is there before may be talked in', async () => {
    const server = await startTalkingServer()
    const send = { type: 'send', sessionId: 'room', prompt: 'say {text}' }
    const only = ['replay', 'idempotency', 'P59', 'P61', 'P83']
    const told: string[] = []
    const onReport = ({ number }: ServerReport) => void told.push(number)
    const reports = await runServerContract({ ...server.options, send }, { only, onReport })
    await server.close()
    expect(unusual(reports)).toEqual([])
    expect(told).toEqual(reports.map(({ number }) => number))
  })

  test('where nothing answers each case says so', async () => {
    const url = `http://127.0.0.1:${await freePort()}/api/chat`
    const reports = await runServerContract({ url }, { only: ['P1', 'P43'] })
    expect(reports.map(({ outcome }) => outcome)).toEqual(['failed', 'skipped'])
    expect(reports[0]?.why).toContain('GET events: no answer (ECONNREFUSED). P1 says: ')
  })

  test.each<[string, object, object?]>([
    ['url', { url: 'ftp://host' }],
    ['url', { url: '/api/chat' }],
    ['url', { url: 'http://host/api?x=1' }],
    ['send', { send: { prompt: 'no type' } }],
    ['endpoint', { endpoint: '' }],
    ['events', { events: 0 }],
    ['events', { events: 1.5 }],
    ['timeout', { timeout: -1 }],
    ['headers', { headers: { Cookie: 1 } }],
    ['secondUser', { secondUser: { Cookie: null } }],
    ['goodbye', { goodbye: 'kill' }],
    ['fetch', { fetch: 'no' }],
    ['cookie', { cookie: 'a=b' }],
    ['only', {}, { only: ['resumes'] }],
    ['only', {}, { only: [] }],
  ])('a wrong %s is a TypeError that names it', async (name, wrong, settings = {}) => {
    const running = runServerContract({ url: 'http://127.0.0.1:1', ...wrong } as never, settings)
    await expect(running).rejects.toThrow(TypeError)
    await expect(running).rejects.toThrow(`'${name}'`)
  })
})

describe('docs/protocol.md', () => {
  const marks = Array.from(protocol.matchAll(/<a id="(p\d+)">(P\d+)<\/a>/g), ([, anchor, number]) => ({
    anchor,
    number,
  }))
  const page = read('docs/check.md')
  const unchecked = new Set(Array.from(page.matchAll(/^\| (P\d+) \| \S/gm), ([, number]) => number))

  test('each number is there once, and is an anchor', () => {
    expect(marks.length).toBeGreaterThan(80)
    expect(new Set(marks.map(({ number }) => number)).size).toBe(marks.length)
    for (const { anchor, number } of marks) expect(anchor).toBe(number?.toLowerCase())
  })

  test('each case is of one rule, and each rule has a case or, in docs/check.md, the reason why not', () => {
    expect(new Set(numbers).size).toBe(numbers.length)
    const accounted = [...numbers, ...unchecked].sort()
    expect(accounted).toEqual(marks.map(({ number }) => number).sort())
  })

  test('docs/check.md names each topic', () => {
    for (const topic of SERVER_TOPICS) expect(page).toContain(`\`${topic}\``)
  })

  test('each sentence with a MUST for the server is one of a numbered rule', () => {
    const unnumbered = blocksOf(protocol).filter((block) => /\bMUST\b/.test(block) && !/<a id="p\d+">/.test(block))
    expect(unnumbered.filter((block) => !OF_THE_CLIENT.some((begin) => block.startsWith(begin)))).toEqual([])
    for (const begin of OF_THE_CLIENT) expect(unnumbered.some((block) => block.startsWith(begin))).toBe(true)
  })
})

/** Blocks with a MUST that is the client's, or that another rule repeats. */
const OF_THE_CLIENT = ['The key words MUST', '| `protocolVersion` | MUST be 2 |']

/** Paragraphs, elements of lists, rows of tables. */
function blocksOf(markdown: string): readonly string[] {
  return markdown
    .replace(/^```[\s\S]*?^```/gm, '')
    .split(/\n(?=\s*\n|- |\|)/)
    .map((block) => block.trim())
}
