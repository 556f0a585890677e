import { newId } from '../../../protocol'
import { rulesOf } from '../rule'
import { sleep } from '../values'

const rule = rulesOf('storms')
/** How often a client whose line breaks comes back. */
const TIMES = 25

export const storms = [
  rule(
    'P50',
    'the end of a stream does not detach what a later stream of the same client has attached',
    async (check) => {
      const old = await check.open()
      const place = await check.place()
      await check.resume(old, [place])
      const line = await check.open()
      await check.resume(line, [place])
      old.close()
      const message = { type: 'reconnect', resumeId: newId(), sessions: [] }
      // Until the server has noticed, or seems not to.
      for (const end = Date.now() + check.wire.timeout; Date.now() < end; await sleep(10))
        if ((await old.post('reconnect', message)).status === 404) break
      await check.talk(line, place)
      await check.hears(line, place, check.events)
    },
  ),

  rule(`P51`, `a client that comes back ${TIMES} times in a row finds the same each time`, async (check) => {
    const { place, events, last } = await check.conversation(2)
    for (let times = 0; times < TIMES; times += 1) {
      const line = await check.open()
      const answer = check.resume(line, [place])
      // Every other one breaks before its resume is answered.
      if (times % 2) await answer
      line.close()
      await answer.catch(() => {})
    }
    const line = await check.open()
    await check.resume(line, [place])
    check.expectEvents((await check.hears(line, place, events.length)).slice(0, events.length), events, 'the replay')
    await check.talk(line, place)
    await check.hears(line, last, check.events)
  }),
]
