import { NotPromised } from '../fault'
import { rulesOf } from '../rule'
import { placeAt } from '../values'

const rule = rulesOf('watch')

export const watch = [
  rule(
    'P64',
    '`watch` attaches a session and replays its events after `lastSeq`',
    async (check) => {
      const { line: first, place, events, last } = await check.conversation(2)
      const from = placeAt(events[0], place)
      const line = await check.open()
      ;(await line.post('watch', { type: 'watch', ...from })).expectAccepted()
      const hearing = { line, from, least: events.length - 1 }
      await check.expectTold(`the replay after ${from.lastSeq}`, hearing, first)
      await check.talk(line, place)
      await check.hears(line, last, check.events)
      const [begin] = line.eventsOf(place.sessionId)
      check.expect(begin?.seq !== events[0]?.seq, `event ${begin?.seq} came, which is not after ${from.lastSeq}`)
    },
    { needs: ['watch-replay'] },
  ),

  rule('P65', '`unwatch` detaches a session, and may be repeated', async (check) => {
    const { line, place, last } = await check.conversation(1)
    const unwatch = { type: 'unwatch', sessionId: place.sessionId }
    const first = await line.post('unwatch', unwatch)
    if (first.isFinalRefusal && !line.has('watch-replay'))
      throw new NotPromised('an `unwatch` is refused: there is none')
    for (const answer of [first, await line.post('unwatch', unwatch)]) answer.expectAccepted()
    await check.settles(line)
    const before = line.eventsOf(place.sessionId).length
    const speaker = await check.open()
    await check.resume(speaker, [last])
    for (let talks = 1; talks <= 2; talks += 1) {
      await check.talk(speaker, place)
      await check.hears(speaker, last, talks * check.events)
      await check.settles(line)
    }
    const more = line.eventsOf(place.sessionId).slice(before)
    check.expect(more.length === 0, `event ${more[0]?.seq} came after the \`unwatch\``)
  }),
]
