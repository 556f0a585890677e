import { newId } from '../../../protocol'
import type { Check, Conversation } from '../check'
import { NotPromised } from '../fault'
import { rulesOf } from '../rule'
import type { Place, ServerLine } from '../serverLine'

const rule = rulesOf('suspend')

interface Suspension {
  readonly resumeId: string | null
  /** The X-Connection-ID. Default: that of the line. */
  readonly connectionId?: string | null
}

/**  NotPromised if the server has no use for it, and says so */
async function suspend(line: ServerLine, places: readonly Place[], { resumeId, connectionId }: Suspension) {
  const message = { type: 'session_suspend', sessions: places, connectionId: line.connectionId, resumeId }
  const answer = await line.post('suspend', message, connectionId === undefined ? {} : { connectionId })
  if (answer.isFinalRefusal && !line.has('suspend-keeps'))
    throw new NotPromised('a `suspend` is refused: there is none')
  return answer.expectAccepted()
}

/** A stream with one resume, whose id is known. */
async function resumed(check: Check) {
  const line = await check.open()
  const place = await check.place()
  const resumeId = newId()
  await check.resume(line, [place], resumeId)
  return { line, place, resumeId }
}

/** What somebody else says is heard. */
async function expectHeard(check: Check, { line, place }: Pick<Conversation, 'line' | 'place'>) {
  const speaker = await check.open()
  await check.resume(speaker, [place])
  await check.talk(speaker, place)
  await check.hears(line, place, check.events)
}

export const suspending = [
  rule('P70', 'a `suspend` is answered 2xx, and does not end the stream', async (check) => {
    const { line, place, resumeId } = await resumed(check)
    await suspend(line, [place], { resumeId })
    await check.settles(line)
    await check.resume(line, [place])
    check.expect(line.ending === 'open', 'the stream ended')
  }),

  rule('P71', 'a resume ends the suspension: the events come again', async (check) => {
    const { line, place, resumeId } = await resumed(check)
    await suspend(line, [place], { resumeId })
    await check.resume(line, [place])
    await expectHeard(check, { line, place })
  }),

  rule(
    'P72',
    'a resume after a `suspend` is followed by a sign on the stream, its marker',
    async (check) => {
      const { line, place, resumeId } = await resumed(check)
      await line.until(() => line.controls('reconnected').length > 0, 'the marker of the first resume')
      await suspend(line, [place], { resumeId })
      await check.resume(line, [place])
      await line.until(() => line.controls('reconnected').length > 1, 'the marker of the resume')
    },
    { needs: ['replay-marker'] },
  ),

  rule('P73', 'a `suspend` that names another resume than the last one is answered 2xx, and ignored', async (check) => {
    const { line, place, resumeId } = await resumed(check)
    await check.resume(line, [place])
    await suspend(line, [place], { resumeId })
    await expectHeard(check, { line, place })
  }),

  rule(
    'P87',
    'the sessions stay attached at a `suspend`',
    async (check) => {
      const { line, place, resumeId } = await resumed(check)
      await suspend(line, [place], { resumeId })
      await expectHeard(check, { line, place })
    },
    { needs: ['suspend-keeps'] },
  ),

  rule('P23', 'a `suspend` without `X-Connection-ID`, as a beacon is, names its stream in the body', async (check) => {
    const { line, place, resumeId } = await resumed(check)
    await suspend(line, [place], { resumeId, connectionId: null })
  }),

  rule(
    'P74',
    'a `suspend` is accepted for a stream that has just ended',
    async (check) => {
      const { line, place, resumeId } = await resumed(check)
      line.close()
      await suspend(line, [place], { resumeId })
    },
    { level: 'should' },
  ),
]
