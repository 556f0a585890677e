import { type Cursor, HEAD, isSeq, newId, parseVerdicts } from '../../../protocol'
import type { Check, Conversation } from '../check'
import { NotPromised } from '../fault'
import { quoted } from '../json'
import { rulesOf } from '../rule'
import type { Place } from '../serverLine'
import { newSession, placeAt, rangesOf } from '../values'

const rule = rulesOf('resume')

/** The server's word on a cursor that it cannot go on from. */
async function expectReset(check: Check, { last }: Conversation, cursor: Place) {
  const line = await check.open()
  const answer = await check.resume(line, [cursor])
  const verdict = await check.verdict(line, answer, last.sessionId)
  const isReset = verdict?.status === 'reset' && verdict.to >= last.lastSeq
  check.expect(
    isReset && verdict.from <= verdict.to && (last.epoch === undefined || verdict.epoch === last.epoch),
    `the verdict is ${quoted(verdict)}, and the head ${quoted(last)}`,
  )
  return { line, head: placeAt({ seq: verdict?.to }, last) }
}

export const resume = [
  rule(
    'P53',
    'a resume attaches each session to the stream, one without events as well, so that its events come',
    async (check) => {
      const line = await check.open()
      const place = await check.place()
      const answer = await check.resume(line, [place])
      const word = parseVerdicts(answer.json).find(({ sessionId }) => sessionId === place.sessionId)
      check.expect(
        !word || word.status === 'resumed',
        `the word on ${quoted(place)} is ${quoted(word)}, not \`resumed\``,
      )
      await check.talk(line, place)
      await check.hears(line, place, check.events)
    },
  ),

  rule(
    'P88',
    'a message attaches its session to the stream that it came by, so that its events come',
    async (check) => {
      const line = await check.open()
      const place = await check.place()
      await check.talk(line, place)
      await check.hears(line, place, check.events)
      await check.talk(line, place)
      await check.hears(line, place, 2 * check.events)
    },
  ),

  rule('P56', 'a resume may name 100 sessions', async (check) => {
    const line = await check.open()
    const place = await check.place()
    const others = Array.from({ length: 99 }, () => ({ sessionId: newSession(), lastSeq: 0 }))
    await check.resume(line, [...others, place])
    await check.talk(line, place)
    await check.hears(line, place, check.events)
  }),

  rule('P57', 'a resume that succeeds is answered 2xx with the JSON `{ok:true, …}`', async (check) => {
    const line = await check.open()
    const place = await check.place()
    for (const sessions of [[place], []]) {
      const answer = await check.resume(line, sessions)
      answer.expect(answer.json.ok === true, '{"ok":true}')
    }
  }),

  rule(
    'P58',
    'the word on a session is `{sessionId, status, epoch?, from, to}`; one that is `resumed` goes on after its cursor',
    async (check) => {
      const { last } = await check.conversation(1)
      const line = await check.open()
      const answer = await check.resume(line, [last])
      await check.verdict(line, answer, last.sessionId)
      const told = [answer.json, ...line.controls('reconnected')].flatMap(({ sessions }) =>
        Array.isArray(sessions) ? sessions : [],
      )
      if (told.length === 0) throw new NotPromised('neither the answer nor a marker has `sessions`')
      for (const word of told) {
        const { sessionId, status, from, to }: { [field: string]: unknown } = Object(word)
        const isRight =
          sessionId === last.sessionId && status === 'resumed' && from === last.lastSeq && isSeq(to) && to >= from
        check.expect(isRight, `the word on ${quoted(last)} is ${quoted(word)}`)
      }
    },
  ),

  rule(
    'P59',
    'a cursor beyond the head, or of another epoch, is answered `reset`, with the head as `to`',
    async (check) => {
      const conversation = await check.conversation(2)
      const { last } = conversation
      await expectReset(check, conversation, { ...last, lastSeq: last.lastSeq + 1_000 })
      if (last.epoch !== undefined) await expectReset(check, conversation, { ...last, epoch: `check-${newId()}` })
    },
  ),

  rule(
    'P89',
    'a cursor without an `epoch`, and one at 0, is of every epoch: it is not answered `reset` for that',
    async (check) => {
      const { place, last } = await check.conversation(1)
      const { sessionId, lastSeq } = last
      const cursors: readonly (Cursor | object)[] = [
        { sessionId, lastSeq },
        { sessionId, lastSeq, epoch: null },
        ...(place.lastSeq === 0 ? [{ sessionId, lastSeq: 0, epoch: `check-${newId()}` }] : []),
      ]
      for (const cursor of cursors) {
        const line = await check.open()
        const answer = await check.resume(line, [cursor as Cursor])
        const verdict = await check.verdict(line, answer, sessionId)
        check.expect(!verdict || verdict.status === 'resumed', `the verdict is ${quoted(verdict)}`)
      }
    },
  ),

  rule('P61', 'a `lastSeq` of 2⁵³−1 is answered `reset` with `to`, and is followed from there', async (check) => {
    const conversation = await check.conversation(1)
    const { last } = conversation
    const { line, head } = await expectReset(check, conversation, { sessionId: last.sessionId, lastSeq: HEAD })
    await check.talk(line, last)
    await check.hears(line, head, check.events)
    const [first] = line.eventsOf(last.sessionId)
    check.expect(Number(first?.seq) > head.lastSeq, `event ${first?.seq} came, which is not after ${head.lastSeq}`)
  }),

  rule('P62', 'a session whose id is malformed does not fail the resume of the others', async (check) => {
    const line = await check.open()
    const place = await check.place()
    const bad = ['../no session\u0007', 'x'.repeat(300)].map((sessionId) => ({ sessionId, lastSeq: 0 }))
    await check.resume(line, [...bad, place])
    await check.talk(line, place)
    await check.hears(line, place, check.events)
  }),

  rule('P60', 'a session of somebody else is `forbidden` or `gone`, and none of its events comes', async (check) => {
    check.headersOf('second')
    const { line, place, last } = await check.conversation(1)
    const other = await check.open('second')
    const answer = await other.post('reconnect', { type: 'reconnect', resumeId: newId(), sessions: [place] })
    if (answer.isAccepted) {
      const verdict = await check.verdict(other, answer, place.sessionId)
      const isKept = verdict === undefined || ['forbidden', 'gone'].includes(verdict.status)
      check.expect(isKept, `the second user is told ${quoted(verdict)}`)
    } else answer.expectFinalRefusal()
    await check.talk(line, place)
    await check.hears(line, last, check.events)
    await check.settles(other)
    const heard = other.eventsOf(place.sessionId)
    check.expect(heard.length === 0, `the second user was sent ${quoted(heard[0])}`)
  }),
]

const replayRule = rulesOf('replay')

export const replay = [
  replayRule('P54', 'the events after `lastSeq` are replayed, each once, in order, as they were', async (check) => {
    const { line: first, place, events, last } = await check.conversation(3)
    const middle = placeAt(events[Math.floor(events.length / 2)], place)
    for (const from of [place, middle, last]) {
      const line = await check.open()
      await check.resume(line, [from])
      const least = events.filter(({ seq }) => Number(seq) > from.lastSeq).length
      await check.expectTold(`the replay after ${from.lastSeq}`, { line, from, least }, first)
    }
    // A later event shows that nothing else was replayed.
    const line = await check.open()
    await check.resume(line, [middle])
    await check.talk(line, place)
    await check.hears(line, last, check.events)
    const seqs = line.eventsOf(place.sessionId).map(({ seq }) => Number(seq))
    const isRising = seqs.every((seq, index) => seq > (seqs[index - 1] ?? middle.lastSeq))
    check.expect(isRising, `events came as ${rangesOf(seqs)} to a cursor at ${middle.lastSeq}`)
  }),

  replayRule('P55', 'between the replay and what is live no event is left out, and none comes twice', async (check) => {
    const speaker = await check.open()
    const place = await check.place()
    await check.resume(speaker, [place])
    const speak = async () => {
      for (let n = 0; n < 12; n += 1) await check.talk(speaker, place)
    }
    const join = async () => {
      const line = await check.open()
      await check.resume(line, [place])
      return line
    }
    const [, ...lines] = await Promise.all([speak(), join(), join().then(join), join().then(join).then(join)])
    await check.talk(speaker, place)
    const least = 13 * check.events
    for (const line of [...lines, speaker])
      await check.expectTold('what a late stream got', { line, from: place, least }, speaker)
  }),
]
