import { newId } from '../../../protocol'
import { quoted } from '../json'
import { rulesOf } from '../rule'
import { newSession } from '../values'

const rule = rulesOf('marker')
const needs = ['replay-marker'] as const

export const marker = [
  rule(
    'P19',
    'a `reconnected` frame comes after all events of the replay',
    async (check) => {
      const { line: first, place, events } = await check.conversation(3)
      const line = await check.open()
      await check.resume(line, [place])
      await line.until(() => line.controls('reconnected').length > 0, 'the marker')
      const at = line.frames.findIndex(({ json }) => json?.type === 'reconnected')
      const before = line.frames.slice(0, at).flatMap(({ json }) => (json?.sessionId === place.sessionId ? [json] : []))
      const told = await check.hears(first, place, Math.max(before.length, events.length))
      check.expectEvents(before, told.slice(0, Math.max(before.length, events.length)), 'what was before the marker')
    },
    { needs },
  ),

  rule(
    'P20',
    'a marker echoes the `resumeId` of its resume',
    async (check) => {
      const line = await check.open()
      const ids = [newId(), newId()]
      await Promise.all(ids.map((id) => check.resume(line, [{ sessionId: newSession(), lastSeq: 0 }], id)))
      await line.until(() => line.controls('reconnected').length >= ids.length, 'a marker for each of two resumes')
      const echoed = line.controls('reconnected').map(({ resumeId }) => resumeId)
      const isRight = ids.every((id) => echoed.includes(id))
      check.expect(isRight, `the markers echo ${quoted(echoed)}, and the resumes were ${quoted(ids)}`)
    },
    { needs },
  ),
]
