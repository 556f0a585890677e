import { newId } from '../../protocol'
import { Fault } from '../../testing/serverContract/fault'
import type { ServerLine } from '../../testing/serverContract/serverLine'
import { sleep } from '../../testing/serverContract/values'
import type { Exchange, Failure, Hold, Outcome, Over, Probe } from './observation'

// On an open stream.

/** Probes, and the time from one to the next, ms: with two in one piece there is a buffer. */
const [PROBES, SPACING] = [6, 200]
/** How long the last ones are waited for, ms. */
const LAST_CALL = 3_000

/** Times are ms since `since`, which is by `performance.now`. `up` is the first POST. */
export async function probe(line: ServerLine, since: number) {
  const posts: Promise<{
    readonly probe: Omit<Probe, 'came'>
    readonly nonce: string
    readonly up: Outcome<Exchange>
  }>[] = []
  for (let count = 0; count < PROBES; count++) {
    posts.push(postProbe(line, since))
    await sleep(SPACING)
  }
  const sent = await Promise.all(posts)
  const cameAt = (nonce: string) => line.frames.find(({ json }) => json?.type === 'probe' && json.nonce === nonce)?.at
  const isThere = () =>
    sent.every(({ nonce, probe: { status } }) => status === undefined || status >= 300 || cameAt(nonce) !== undefined)
  await line.until(isThere, 'the answers', LAST_CALL).catch(() => {})
  const probes = sent.map(({ probe, nonce }): Probe => {
    const at = cameAt(nonce)
    return { ...probe, came: at === undefined ? undefined : at - since }
  })
  return { probes, up: sent[0]?.up }
}

async function postProbe(line: ServerLine, since: number) {
  const nonce = newId()
  const sent = performance.now() - since
  try {
    const { status, headers, text } = await line.post('probe', { type: 'probe', nonce })
    const answered = performance.now() - since
    const up: Exchange = { request: 'POST probe', status, headers, text, ms: answered - sent }
    return { probe: { sent, answered, status }, nonce, up }
  } catch (error) {
    return { probe: { sent, answered: undefined, status: undefined }, nonce, up: failureOf(error) }
  }
}

/** The end of a stream, if it is over. */
export function overOf(line: ServerLine, since: number): Over | undefined {
  const { ending, endedAt } = line
  if (ending === 'open') return undefined
  return { how: ending, age: endedAt - since, hasFarewell: line.controls('goodbye').length > 0 }
}

/** Until it ends, or `asked` ms have passed. */
export async function leaveAlone(line: ServerLine, since: number, asked: number): Promise<Hold> {
  await line.until(() => line.ending !== 'open', 'its end', asked).catch(() => {})
  const now = performance.now()
  const { ending, lastAt, longestSilence, frames } = line
  const times = [...frames.map(({ at }) => at), now]
  return {
    asked,
    age: now - since,
    ending,
    hasFarewell: line.controls('goodbye').length > 0,
    silence: now - lastAt,
    longestSilence,
    longestGap: Math.max(...times.slice(1).map((time, index) => time - (times[index] ?? time))),
  }
}

export const failureOf = (error: unknown): Failure => ({ failed: error instanceof Fault ? error.came : String(error) })
