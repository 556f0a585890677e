import { setTimeout as sleep } from 'node:timers/promises'
import { type Line, type Setup, withLine } from './line'

/** One client of one library. */
export type Subject = Pick<Setup, 'peer' | 'program'>

/** ms; null: not within the time that was waited. */
export type Wait = number | null
export interface Busy {
  /** Requests until the client was up again, or the wait was over. */
  readonly requests: number
  /** After the server was well again. */
  readonly back: Wait
}
export interface Silent {
  readonly noticed: Wait
  readonly back: Wait
}
export interface Prompted {
  /** How often the server was given the prompt. */
  readonly arrivals: number
  readonly told: string | null
}

const START = 30_000
/** A line that has just opened is left alone for so long, ms. */
const SETTLED = 1_000
/** Until a client that is up hears a message, ms. */
const HEARD = 2_000
/** How long the line is down, or the server busy, ms. */
export const OUTAGE = 3_000
/** How long a client is waited for, ms. */
export const PATIENCE = 60_000
const PROMPT = 'prompt-1'

/** ms of the monotonic clock of the machine. */
const now = () => Number(process.hrtime.bigint()) / 1e6

/** Messages per second of the client's CPU time. */
export const inbound = (subject: Subject, messages: number): Promise<number> =>
  withLine({ ...subject, flood: messages }, async (line) => {
    const flooded = await line.report('flooded', 0, PATIENCE)
    if (!flooded) throw new Error(`${subject.peer.name}: the ${messages} messages have not arrived`)
    return (messages / flooded.cpu) * 1e6
  })

/** From a destroyed socket until the line may be used again. */
export const drop = (subject: Subject): Promise<Wait> =>
  onOpenLine(subject, async (line) => {
    const at = now()
    line.relay.cut()
    return back(line, at)
  })

/** A server that answers 503 for a while, from the first request on, without `Retry-After`. */
export const busy = (subject: Subject, outage = OUTAGE, patience = PATIENCE): Promise<Busy> =>
  onOpenLine(subject, async (line) => {
    line.relay.turn('busy')
    line.relay.cut()
    if (await line.relay.refusal(patience)) await sleep(outage)
    line.relay.turn('pass')
    return { back: await back(line, now(), patience), requests: line.relay.refused }
  })

/** A connection that stays open, and through which nothing comes any more. */
export const silent = (subject: Subject): Promise<Silent> =>
  onOpenLine(subject, async (line) => {
    const at = now()
    line.relay.swallow()
    const down = await line.report('down', at, PATIENCE)
    return { noticed: down ? down.at - at : null, back: down ? await back(line, at) : null }
  })

/** A prompt sent while the line is known to be down. */
export const promptWhileDown = (subject: Subject): Promise<Prompted> =>
  onOpenLine(subject, async (line) => {
    const at = now()
    line.relay.turn('down')
    line.relay.cut()
    await line.report('down', at, OUTAGE / 2)
    line.send(PROMPT)
    await sleep(at + OUTAGE - now())
    line.relay.turn('pass')
    return outcome(line, at)
  })

/** A prompt sent into a line that is dead and looks alive. */
export const promptIntoSilence = (subject: Subject): Promise<Prompted> =>
  onOpenLine(subject, async (line) => {
    const at = now()
    line.relay.swallow()
    line.send(PROMPT)
    return outcome(line, at)
  })

/** A prompt that the server was given, and of which no answer came through: the line was cut. */
export const promptUnanswered = (subject: Subject): Promise<Prompted> =>
  onOpenLine({ ...subject, cutsAnswer: true }, async (line) => {
    const at = now()
    line.send(PROMPT)
    return outcome(line, at)
  })

async function onOpenLine<T>(subject: Setup, work: (line: Line) => Promise<T>): Promise<T> {
  return withLine(subject, async (line) => {
    if ((await back(line, 0, START)) === null) throw new Error(`${subject.peer.name}: the line has not opened`)
    await sleep(SETTLED)
    return work(line)
  })
}

/** The library says that the line is up, and a message that is published then is heard. */
async function back(line: Line, since: number, patience = PATIENCE): Promise<Wait> {
  const deadline = now() + patience
  let after = since
  while (now() < deadline) {
    const up = await line.report('up', after, deadline - now())
    if (!up) return null
    const text = `published ${up.at}`
    line.server.publish({ text })
    if (await line.report('heard', up.at, HEARD, (heard) => heard.text === text)) return up.at - since
    after = up.at + 0.001
  }
  return null
}

/**
 * A repeat that was to come has come by now: the client is up again and has had some time, or will
 * not be.
 */
async function outcome(line: Line, since: number): Promise<Prompted> {
  await back(line, since)
  await sleep(HEARD)
  const told = await line.report('told', since, 0)
  return { arrivals: line.prompts.length, told: told?.told ?? null }
}
