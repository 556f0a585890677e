import { isText, type JsonObject, newId } from '../../../protocol'
import type { Check } from '../check'
import { Fault, NotPromised } from '../fault'
import { quoted } from '../json'
import { rulesOf } from '../rule'

const rule = rulesOf('events')
const seqsOf = (events: readonly JsonObject[]) => events.map(({ seq }) => Number(seq))

/** The same events, live and replayed. */
async function liveAndReplayed(check: Check): Promise<readonly (readonly JsonObject[])[]> {
  const { line, place, events } = await check.conversation(3)
  const again = await check.open()
  await check.resume(again, [place])
  await check.hears(again, place, events.length)
  return [line.eventsOf(place.sessionId), again.eventsOf(place.sessionId)]
}

/** Each run that has started ends once, before the next one starts. */
function faultIn(events: readonly JsonObject[]): string | undefined {
  let running: unknown
  const ended = new Set<unknown>()
  for (const { type, run } of events) {
    if (type === 'run.started') {
      if (running !== undefined) return `run ${quoted(run)} started before ${quoted(running)} had ended`
      if (ended.has(run)) return `run ${quoted(run)} started again`
      running = run
    } else if (type === 'run.ended') {
      if (ended.has(run)) return `run ${quoted(run)} ended twice`
      ended.add(run)
      if (run === running) running = undefined
    }
  }
  return running === undefined ? undefined : `run ${quoted(running)} has not ended`
}

export const events = [
  rule('P14', 'a `seq` is an integer from 1 on that rises within a session and an epoch', async (check) => {
    for (const events of await liveAndReplayed(check)) {
      const seqs = seqsOf(events)
      const isRising = seqs.every((seq, index) => Number.isSafeInteger(seq) && seq > (seqs[index - 1] ?? 0))
      check.expect(isRising, `the \`seq\` of the events are ${seqs.join(', ')}`)
    }
  }),

  rule(
    'P83',
    '`seq` rises by exactly 1',
    async (check) => {
      for (const events of await liveAndReplayed(check)) {
        const seqs = seqsOf(events)
        const isWhole = seqs.every((seq, index) => index === 0 || seq === Number(seqs[index - 1]) + 1)
        check.expect(isWhole, `the \`seq\` of the events are ${seqs.join(', ')}`)
      }
    },
    { needs: ['contiguous-seq'] },
  ),

  rule('P15', 'all events of one life of a session have the same `epoch`, a string, or none has one', async (check) => {
    const epochs = new Set((await liveAndReplayed(check)).flat().map(({ epoch }) => epoch ?? undefined))
    const [epoch] = epochs
    const isOne = epochs.size === 1 && (epoch === undefined || (isText(epoch) && epoch.length <= 1_024))
    check.expect(isOne, `the epochs are ${[...epochs].map(quoted).join(', ')}`)
  }),

  rule('P16', 'a `prevSeq` is the `seq` of the event before', async (check) => {
    const lists = await liveAndReplayed(check)
    const isThere = lists.flat().some(({ prevSeq }) => prevSeq !== undefined)
    if (!isThere) throw new NotPromised('no event has a prevSeq')
    for (const events of lists) {
      const wrong = events.find(
        ({ prevSeq }, index) => index > 0 && prevSeq !== undefined && prevSeq !== events[index - 1]?.seq,
      )
      check.expect(!wrong, `${quoted(wrong)} came after ${events.map(({ seq }) => seq).join(', ')}`)
    }
  }),

  rule(
    'P17',
    'the envelope is the server’s: fields of a message under its names do not reach an event',
    async (check) => {
      const { line, place, last } = await check.conversation(1)
      const forged = { seq: 10 ** 12, prevSeq: 10 ** 12 - 1, epoch: 'check-forged' }
      const answer = await line.post(check.endpoint, { ...check.message(place), ...forged }, { key: newId() })
      if (answer.isFinalRefusal) return
      answer.expectAccepted()
      await check.hears(line, last, check.events)
      const wrong = line
        .eventsOf(place.sessionId)
        .find((event) => event.seq === forged.seq || event.prevSeq === forged.prevSeq || event.epoch === forged.epoch)
      check.expect(!wrong, `an event came as ${quoted(wrong)}`)
    },
  ),

  rule(
    'P18',
    'each `run.started` is followed by exactly one `run.ended`, and one run goes on at a time',
    async (check) => {
      const { line, place, events } = await check.conversation(2)
      if (!events.some(({ type }) => type === 'run.started')) throw new NotPromised('no event tells of a run')
      const sound = () => faultIn(line.eventsOf(place.sessionId)) === undefined
      await line.until(sound, 'the end of the run').catch((error) => {
        const fault = faultIn(line.eventsOf(place.sessionId))
        throw fault && error instanceof Fault ? check.fault(fault) : error
      })
    },
  ),
]
