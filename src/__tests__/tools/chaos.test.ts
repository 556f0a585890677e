import { afterEach, describe, expect, test } from 'vitest'
import { check, type History } from '../../../tools/chaos/check'
import { createDice } from '../../../tools/chaos/dice'
import { type Fault, POST_FAULTS, STREAM_FAULTS } from '../../../tools/chaos/faults'
import { startProxy } from '../../../tools/chaos/proxy'
import { run } from '../../../tools/chaos/run'
import { judge, judgeMessages } from '../../../tools/chaos/tabs/verdict'
import { listen } from '../../../tools/shared/listen'
import type { Told } from '../../../tools/shared/tabsSite'
import { ConnectionError, type SendError } from '../../index'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

describe('real client, faulty line, real server', () => {
  // Between them: one in flight and several, batches, a storage that is reloaded, tokens, and most
  // features on and off.
  test.each([6, 11, 14])(
    'no rule is broken, with idempotency and without (seed %i)',
    async (seed) => {
      for (const idempotency of [true, false]) {
        const { violations, faults } = await run({ seed, idempotency, sends: 200, events: 1_000 })
        expect(violations).toEqual([])
        expect(Object.values(faults).reduce((sum, times) => sum + times, 0)).toBeGreaterThan(10)
      }
    },
    60_000,
  )

  test('what a seed draws for a thing does not depend on what was drawn before it', () => {
    const [one, other] = [createDice(7), createDice(7)]
    other.draw('line', 'send 1 #1')()
    expect(one.draw('line', 'send 2 #1')()).toBe(other.draw('line', 'send 2 #1')())
    expect(one.draw('line', 'send 2 #1')()).not.toBe(one.draw('line', 'send 2 #2')())
    expect(one.draw('line', 'send 2 #1')()).not.toBe(createDice(8).draw('line', 'send 2 #1')())
  })
})

describe('the faults do what they are called', () => {
  /**
   * A server that notes what reaches it, and the proxy before it, which does to the first requests
   * what it is told.
   */
  async function line(fault: Fault, times = 1) {
    const reached: string[] = []
    const server = await listen(async (request) => {
      if (request.method === 'POST') reached.push(await request.text())
      else return new Response(FRAMES.join(''), { headers: { 'content-type': 'text/event-stream' } })
      return Response.json({ took: reached.at(-1) })
    })
    cleanups.push(server.close)
    let requests = 0
    const proxy = await startProxy({
      target: new URL(server.url).origin,
      plan: () => ({ fault: requests++ < times ? fault : undefined, random: () => 0.005 }),
    })
    cleanups.push(proxy.close)
    const post = async (body: string) => {
      const response = await fetch(`${proxy.origin}/send`, { method: 'POST', body })
      return `${response.status} ${await response.text()}`
    }
    const stream = async () => {
      const response = await fetch(`${proxy.origin}/events`)
      let text = `${response.status} `
      try {
        for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString()
      } catch {
        text += '!'
      }
      return text
    }
    return { reached, post, stream, proxy }
  }
  const FRAMES = ['welcome', 'one', 'two', 'three', 'four'].map((name, seq) => `data: {"${name}":0,"seq":${seq}}\n\n`)
  const WHOLE = '200 {"took":"first"}'
  const CUT = 'cut'
  const HANGS = 'hangs'

  const POSTS: Record<keyof typeof POST_FAULTS, readonly [isSeen: boolean, answer: string]> = {
    drop: [false, CUT],
    hang: [false, HANGS],
    answer500: [false, '500 '],
    answer503: [false, '503 '],
    answer429: [false, '429 '],
    answer401: [false, '401 '],
    answer404: [false, '404 '],
    answerEmpty: [false, '200 '],
    answerHtml: [false, '200 <!doctype html><title>Sign in</title>'],
    dropAfter: [true, CUT],
    hangAfter: [true, HANGS],
    answer500After: [true, '500 '],
    answer503After: [true, '503 '],
    answer429After: [true, '429 '],
    answer401After: [true, '401 '],
    answer404After: [true, '404 '],
    answerEmptyAfter: [true, '200 '],
    answerHtmlAfter: [true, '200 <!doctype html><title>Sign in</title>'],
    cutAnswer: [true, CUT],
    truncateAnswer: [true, '200 {"took":'],
    delayRequest: [true, WHOLE],
    delayAnswer: [true, WHOLE],
  }

  test.each(Object.entries(POSTS))('POST: %s', async (name, [isSeen, answer]) => {
    const { reached, post, proxy } = await line(POST_FAULTS[name as keyof typeof POST_FAULTS])
    let ending = HANGS
    const first = post('first').then(
      (text) => (ending = text),
      () => (ending = CUT),
    )
    if (answer === HANGS) for (const body of ['second', 'third']) await post(body)
    else await first
    await proxy.quiet()
    expect(ending).toBe(answer)
    expect(reached.includes('first')).toBe(isSeen)
  })

  const [welcome = '', one = '', two = '', three = '', four = ''] = FRAMES
  const half = (frame: string) => frame.slice(0, frame.length / 2)
  // The frame that is drawn is the third one.
  const STREAMS: Partial<Record<keyof typeof STREAM_FAULTS, string>> = {
    answer429: '429 ',
    cutWelcome: `200 ${half(welcome)}!`,
    cutMidFrame: `200 ${welcome}${one}${half(two)}!`,
    cutBetweenFrames: `200 ${welcome}${one}${two}!`,
    stall: `200 ${FRAMES.join('')}`,
    repeatFrame: `200 ${welcome}${one}${two}${two}${three}${four}`,
    loseFrame: `200 ${welcome}${one}${three}${four}`,
  }

  test.each(Object.entries(STREAMS))('stream: %s', async (name, text) => {
    const { stream } = await line(STREAM_FAULTS[name as keyof typeof STREAM_FAULTS])
    expect(await stream()).toBe(text)
  })

  test.each(['hangBeforeWelcome', 'goSilent'] as const)('stream: %s, until the client goes', async (name) => {
    const { proxy, post } = await line(STREAM_FAULTS[name])
    const gone = new AbortController()
    const response = await fetch(`${proxy.origin}/events`, { signal: gone.signal })
    const body = response.body?.getReader()
    let text = ''
    const frames = name === 'goSilent' ? welcome + one + two : ''
    while (text.length < frames.length) text += Buffer.from((await body?.read())?.value ?? []).toString()
    let more: unknown
    const next = body?.read().then(
      (chunk) => (more = chunk),
      (error) => (more = error),
    )
    for (const each of ['first', 'second']) await post(each)
    expect({ text, more }).toEqual({ text: frames, more: undefined })
    gone.abort()
    await next
    expect(more).toMatchObject({ name: 'AbortError' })
  })

  test('two streams of one client at once are seen', async () => {
    const { proxy } = await line(STREAM_FAULTS.hangBeforeWelcome, 2)
    const gone = new AbortController()
    cleanups.push(() => gone.abort())
    for (const { signal } of [gone, gone]) await fetch(`${proxy.origin}/events`, { signal })
    await expect.poll(() => proxy.mostStreams).toBe(2)
  })
})

describe('the checker sees', () => {
  const accepted = (n: number, application = n, attempts = 1) =>
    ({ status: 'accepted', id: `m${n}`, attempts, receipt: { application } }) as const
  const ended = (status: 'rejected' | 'unknown', n: number, attempts = 1) =>
    ({ status, id: `m${n}`, attempts, error: new ConnectionError('cancelled', 'why') as SendError }) as const
  const events = (...seqs: number[]) => seqs.map((seq) => ({ sessionId: 's', seq }))
  const posts = (...numbers: number[]) => numbers.map((n) => ({ n, phase: 'open' as const }))

  /** Three messages, three events, nothing wrong. */
  const HEALTHY: History = {
    promises: { idempotency: true, receipts: true, places: true },
    sent: [{ verdict: accepted(0) }, { verdict: accepted(1) }, { verdict: accepted(2) }],
    posted: posts(0, 1, 2),
    applied: [0, 1, 2],
    published: { s: 3 },
    heard: { app: events(1, 2, 3) },
    lifecycle: ['opened', 'closed', 'opened'],
    mostStreams: 1,
    surprises: [],
  }
  const without = { idempotency: false, receipts: false, places: true }
  const second = (sent: History['sent'][number]) => HEALTHY.sent.map((each, n) => (n === 1 ? sent : each))

  test('nothing in a clean run', () => {
    expect(check(HEALTHY)).toEqual([])
  })

  test('nothing in a repeat that the attempts tell of, where nobody promised idempotency', () => {
    const repeated: History = {
      ...HEALTHY,
      promises: without,
      sent: [{ verdict: accepted(0) }, { verdict: accepted(1, 2, 2) }, { verdict: accepted(2, 3) }],
      posted: posts(0, 1, 1, 2),
      applied: [0, 1, 1, 2],
    }
    expect(check(repeated)).toEqual([])
    expect(check({ ...repeated, promises: HEALTHY.promises })).toEqual([expect.stringMatching(/^doubled: message 1/)])
    expect(check({ ...repeated, sent: HEALTHY.sent })).toContainEqual(expect.stringMatching(/^doubled: message 1/))
  })

  test.each<[string, RegExp, Partial<History>]>([
    ['a doubled command', /^doubled: message 1/, { applied: [0, 1, 2, 1] }],
    [
      'a lost command',
      /^lost: message 1/,
      { applied: [0, 2], sent: [{ verdict: accepted(0) }, { verdict: accepted(1, 0) }, { verdict: accepted(2, 1) }] },
    ],
    ['swapped commands', /^order: message 1 was applied after 2/, { applied: [0, 2, 1] }],
    [
      'swapped posts of a lane',
      /^order: message 1 was posted after 2/,
      {
        posted: posts(0, 2, 1),
        sent: [0, 1, 2].map((n) => ({ lane: n ? 's' : undefined, verdict: accepted(n) })),
      },
    ],
    [
      'a post outside open',
      /^the gate: message 1 was posted in backoff/,
      { posted: [...posts(0), { n: 1, phase: 'backoff' }, ...posts(2)] },
    ],
    ['a command without a verdict', /^message 1 has no verdict/, { sent: second({}) }],
    [
      'a command that was rejected and applied',
      /^false verdict: message 1, rejected/,
      { sent: second({ excuse: 'cancelled', verdict: ended('rejected', 1) }) },
    ],
    [
      'a command that is unknown and was never posted',
      /^false verdict: message 1, unknown/,
      { sent: second({ excuse: 'cancelled', verdict: ended('unknown', 1, 0) }), posted: posts(0, 2), applied: [0, 2] },
    ],
    [
      'a command that is unknown although nobody gave it up',
      /^given up without need: message 1, unknown/,
      { sent: second({ verdict: ended('unknown', 1) }) },
    ],
    [
      'a command that was rejected without a reason',
      /^given up without need: message 1, rejected/,
      { sent: second({ verdict: ended('rejected', 1) }), applied: [0, 2] },
    ],
    ['attempts that are not told', /^attempts: message 1/, { posted: posts(0, 1, 1, 2) }],
    ['another command’s receipt', /^false receipt: message 1/, { sent: second({ verdict: accepted(1, 2) }) }],
    [
      'a receipt that is missing',
      /^false receipt: message 1/,
      { sent: second({ verdict: { ...accepted(1), receipt: null } }) },
    ],
    ['a lost event', /^events: app of session s heard 3 after 1/, { heard: { app: events(1, 3) } }],
    ['a lost last event', /^events: app of session s heard 2 of 3/, { heard: { app: events(1, 2) } }],
    [
      'an event that nobody published',
      /^events: app of session s heard 4 of 3/,
      { heard: { app: events(1, 2, 3, 4) } },
    ],
    ['a doubled event', /^events: app of session s heard 2 after 2/, { heard: { app: events(1, 2, 2, 3) } }],
    ['swapped events', /^events: app of session s heard 3 after 1/, { heard: { app: events(1, 3, 2) } }],
    [
      'an event that one of two listeners lost',
      /^events: other of session s heard 2 of 3/,
      { heard: { app: events(1, 2, 3), other: events(1, 2) } },
    ],
    ['opened twice', /^lifecycle: 'opened' came at 1/, { lifecycle: ['opened', 'opened'] }],
    ['closed before opened', /^lifecycle: 'closed' came at 0/, { lifecycle: ['closed'] }],
    ['two streams at once', /^streams: 2 at once/, { mostStreams: 2 }],
    ['what nobody expected', /^internal: the machine stopped/, { surprises: ['internal: the machine stopped'] }],
  ])('%s', (_, rule, change) => {
    expect(check({ ...HEALTHY, ...change })).toContainEqual(expect.stringMatching(rule))
  })
})

describe('tabs that are killed: the verdict', () => {
  const told = (more: Partial<Told> = {}): ReadonlyMap<string, Told> =>
    new Map([
      [
        'a',
        { life: 'a', flaws: [], resets: [], errors: [], verdicts: ['accepted', 'accepted'], said: 2, ...more } as never,
      ],
    ])
  const TAKEN = ['a 1', 'a 2', 'b 1']

  test('nothing is wrong where every message was taken once and in order, of killed tabs as well', () => {
    const errors = ['network: POST send', 'stream-failed: not connected']
    expect([...judge(told({ errors })), ...judgeMessages(told(), TAKEN)]).toEqual([])
  })

  test.each<[string, Partial<Told>, readonly string[]]>([
    ['an event out of turn', { flaws: ['s1: 3 after 1'] }, TAKEN],
    ['history that was lost', { resets: ['s1 reset'] }, TAKEN],
    ['a tab that does not share', { errors: ['not-shared: why'] }, TAKEN],
    ['a message of unknown end', { verdicts: ['accepted', 'unknown'] }, TAKEN],
    ['a message that was taken twice', {}, ['a 1', 'a 2', 'a 2']],
    ['messages out of order', {}, ['a 2', 'a 1']],
    ['a message of a killed tab that was left out', {}, [...TAKEN, 'b 3']],
    ['a verdict for what was not taken', {}, ['a 1']],
  ])('it sees %s', (_, more, prompts) => {
    expect([...judge(told(more)), ...judgeMessages(told(more), prompts)]).not.toEqual([])
  })
})
