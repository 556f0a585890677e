import { PROTOCOL_VERSION, parseWelcome } from '../../protocol'
import { type Finding, ms, problemOf } from './finding'
import { fixOf } from './fixes'
import type { Host } from './hosts'
import { awayFix, isOtherProtocol } from './judgeLine'
import { type Hold, isFailure, isStream, type Observation, type Probe, type StreamSight } from './observation'
import { refusalOf } from './refusal'

/** A stream that takes longer is told of, ms. */
const SLOW = 1_000
/** How late frames may be: more is seen by a reader, ms. */
const LATE = 100
/** … and this much may be a machine that is busy, ms. */
const HESITANT = 30
/** TCP holds a small packet back for less than this (200 ms on Linux); a buffer for longer, ms. */
const CORKED = 250
/** Frames that came in less than this came together, ms. */
const TOGETHER = 2

type Judge = (observation: Observation, hosts: readonly Host[]) => readonly Finding[]

const streamOf = ({ down }: Observation) => (down && !isFailure(down) && isStream(down) ? down : undefined)

export const judgeStatus: Judge = (observation, hosts) => {
  const { target, ask, down } = observation
  if (!down || isOtherProtocol(observation)) return []
  if (!isFailure(down)) {
    if (!isStream(down)) return [refusalOf(down, { topic: 'stream', target, hosts })]
    return [{ topic: 'stream', level: 'ok', seen: 'GET events is answered 200 with text/event-stream' }]
  }
  const seen = `GET events: ${down.failed}`
  const expected = '200 with `Content-Type: text/event-stream`'
  // The same request without a stream: what is between lets it pass, and holds the stream.
  if (ask && !isFailure(ask)) {
    const more = `${seen}, and ${ask.request} was answered ${ask.status} after ${ms(ask.ms)}`
    return [{ topic: 'buffering', level: 'problem', seen: more, expected, fix: heldFix(hosts) }]
  }
  return [{ topic: 'stream', level: 'problem', seen, expected, fix: awayFix(down.failed) }]
}

export const judgeFirstByte: Judge = (observation) => {
  const stream = streamOf(observation)
  if (!stream?.first) return []
  const { opened, first } = stream
  const seen = `headers after ${ms(opened.ms)}, the first frame after ${ms(first.ms)}`
  if (first.ms <= SLOW) return [{ topic: 'first byte', level: 'ok', seen }]
  const fix =
    opened.ms <= SLOW / 2
      ? 'the headers were not late: let the server send the welcome with them, and nothing on the way hold it back'
      : 'look at what `authenticate` waits for, and at cold starts'
  return [{ topic: 'first byte', level: 'advice', seen, expected: `at most ${ms(SLOW)}`, fix }]
}

export const judgeHeaders: Judge = (observation) => {
  const stream = streamOf(observation)
  if (!stream) return []
  const control = stream.opened.headers.get('cache-control') ?? ''
  if (/no-transform/i.test(control) && /no-cache|no-store/i.test(control)) return []
  const seen = control ? `the stream has \`Cache-Control: ${control}\`` : 'the stream has no `Cache-Control`'
  const expected = '`no-cache, no-transform`, which tells proxies to keep and compress nothing'
  return [{ topic: 'headers', level: 'advice', seen, expected, fix: 'send it, and let no proxy replace it' }]
}

export const judgeCompression: Judge = (observation, hosts) => {
  const stream = streamOf(observation)
  if (!stream) return []
  const encoding = stream.opened.headers.get('content-encoding')
  if (!encoding || encoding === 'identity') return [{ topic: 'compression', level: 'ok', seen: 'none' }]
  // Frames that are late all the same are a matter of this.
  const level = isOnTime(stream) ? 'advice' : 'problem'
  const seen = `the stream is compressed (${encoding}), so each frame waits until the compressor is flushed`
  return [{ topic: 'compression', level, seen, expected: 'none', fix: fixOf('compression', hosts) }]
}

export const judgeBuffering: Judge = (observation, hosts) => {
  const stream = streamOf(observation)
  if (!stream) return []
  const lack = firstLack(stream, observation, hosts) ?? endLack(stream)
  if (lack) return [lack]
  const probes = stream.probes.filter(({ status = 0 }) => status >= 200 && status < 300)
  if (probes.length > 0) return [judgeProbes(probes, hosts)]
  const why = stream.probes.length > 0 ? 'no probe was accepted' : 'the server does not announce `probe`'
  const fix = '--idle 60 shows a heartbeat that is held back'
  return [{ topic: 'buffering', level: 'unknown', seen: `${why}, so no frame has a known time`, fix }]
}

/** A stream that is held may be one that the server does not flush. */
const heldFix = (hosts: readonly Host[], own = 'flush the headers and the welcome at once') =>
  `${fixOf('buffering', hosts)}; if it is so without a proxy, let the server ${own}`

/** Why there is no welcome. */
function firstLack({ opened, first, bytes, over }: StreamSight, { ask, target }: Observation, hosts: readonly Host[]) {
  if (first) {
    const seen = welcomeLack(first)
    const expected = 'the welcome of docs/protocol.md'
    return seen === undefined ? undefined : problemOf('stream', seen, expected, 'npx holdline check <url> says more')
  }
  if (bytes > 0) {
    // mod_sed holds a part of what it is given: the server may have sent the rest.
    const seen = `${bytes} bytes came, and no whole frame in them`
    return problemOf(
      'buffering',
      seen,
      'a welcome at once',
      heldFix(hosts, 'end each frame with an empty line (`\\n\\n`)'),
    )
  }
  if (!over) {
    const seen = `headers came after ${ms(opened.ms)}, and no frame within ${ms(target.timeout)}`
    return problemOf('buffering', seen, 'a welcome at once', heldFix(hosts))
  }
  // Headers that come with the end were held by whoever has cut the line.
  if (opened.ms > SLOW && over.age - opened.ms < LATE && ask && !isFailure(ask) && ask.ms < SLOW) {
    const seen = `the headers came with the end of the stream, after ${ms(over.age)}`
    return problemOf('buffering', seen, 'both the headers and a welcome at once', heldFix(hosts))
  }
  const fix = 'let the server keep the stream open; if it does, something on the way has no place for long answers'
  return problemOf('stream', 'the stream is over before its first frame', 'a welcome', fix)
}

/** What a client would not take. */
function welcomeLack({ name, json }: NonNullable<StreamSight['first']>): string | undefined {
  if (name !== 'welcome') return `the first frame is ${name ?? 'one without a name'}, not a welcome`
  if (parseWelcome(JSON.stringify(json))) return undefined
  const { protocolVersion: version } = json
  if (version !== PROTOCOL_VERSION)
    return `the welcome has \`protocolVersion: ${JSON.stringify(version)}\`, not ${PROTOCOL_VERSION}`
  return 'the welcome has no `connectionId` that is one'
}

/** A stream that is over without having been left alone. */
function endLack({ over }: StreamSight): Finding | undefined {
  if (!over) return undefined
  if (over.hasFarewell) return farewell(over.age)
  const seen = `the stream was ${over.how} ${ms(over.age)} after it was asked for`
  const fix =
    'let the server keep it open: no `Content-Length`, no end of the handler behind the welcome; if it does, a limit on the whole answer'
  return { topic: 'stream', level: 'problem', seen, expected: 'open until the client leaves', fix }
}

const farewell = (age: number): Finding => ({
  topic: 'idle',
  level: 'unknown',
  seen: `the server said goodbye after ${ms(age)}`,
  fix: 'try again: it was restarted, or gave the stream its age',
})

function judgeProbes(probes: readonly Probe[], hosts: readonly Host[]): Finding {
  const expected = 'each at once, as the answer to its POST'
  const fix = fixOf('buffering', hosts)
  const lost = probes.filter(({ came }) => came === undefined).length
  if (lost > 0) {
    const seen = `${lost} of ${probes.length} frames did not come`
    return { topic: 'buffering', level: 'problem', seen, expected, fix }
  }
  const late = latenessOf(probes)
  const most = burstOf(probes)
  const how = most > 1 ? `in bursts of up to ${most}` : 'singly'
  const seen = `${probes.length} frames came ${how}, ${ms(late)} late in the middle of them`
  if (late <= HESITANT)
    return { topic: 'buffering', level: 'ok', seen: `${probes.length} frames came ${how} and at once` }
  if (late <= LATE) return { topic: 'buffering', level: 'advice', seen, expected, fix: fixOf('delay', hosts) }
  // Each is sent with the next one, where they are as far apart as that.
  const isCorked = late < CORKED && most <= 2
  return { topic: 'buffering', level: 'problem', seen, expected, fix: isCorked ? fixOf('delay', hosts) : fix }
}

/** The median of how long frames came after the answers to their POSTs, ms. */
function latenessOf(probes: readonly Probe[]): number {
  const late = probes.flatMap(({ answered, came }) =>
    answered === undefined || came === undefined ? [] : [Math.max(came - answered, 0)],
  )
  return late.sort((a, b) => a - b)[Math.floor(late.length / 2)] ?? 0
}

/** How many came together at most. */
function burstOf(probes: readonly Probe[]): number {
  const times = probes.flatMap(({ came }) => came ?? [])
  return Math.max(...times.map((time) => times.filter((other) => other >= time && other - time < TOGETHER).length))
}

function isOnTime({ first, probes }: StreamSight): boolean {
  const isThere = probes.every(({ came, status }) => came !== undefined || (status ?? 0) >= 300)
  return first !== undefined && isThere && latenessOf(probes) <= LATE
}

export const judgeIdle: Judge = (observation, hosts) => {
  const stream = streamOf(observation)
  if (!stream?.first || stream.over) return []
  const { heartbeat } = stream.first.json
  const beat = typeof heartbeat === 'number' ? heartbeat : undefined
  if (!stream.hold)
    return [{ topic: 'idle', level: 'unknown', seen: 'not asked for: --idle 60 leaves the stream alone for a minute' }]
  return [judgeHold(stream.hold, beat, hosts)]
}

function judgeHold(hold: Hold, beat: number | undefined, hosts: readonly Host[]): Finding {
  const { asked, age, ending, hasFarewell, silence, longestSilence, longestGap } = hold
  const said = beat === undefined ? 'no heartbeat is announced' : `the heartbeat is ${ms(beat)}`
  if (ending === 'open') {
    const seen = `open for ${ms(age)}, with a frame at least every ${ms(longestGap)}; ${said}`
    if (beat === undefined || longestGap <= 2 * beat) return { topic: 'idle', level: 'ok', seen }
    const fix = `the server has to send a ping every ${ms(beat)}, and nothing on the way may hold it back`
    return { topic: 'idle', level: 'problem', seen, expected: `something at least every ${ms(beat)}`, fix }
  }
  const how = ending === 'cut' ? 'cut' : 'ended'
  if (hasFarewell) return farewell(age)
  const expected = `open for ${ms(asked)} more`
  // A limit on silence would have struck before, where it was as long.
  if (longestSilence >= silence) {
    const seen = `the stream was ${how} after ${ms(age)}, ${ms(silence)} after its last bytes, and had been quiet for longer; ${said}`
    const fix =
      'a limit on the whole answer (a function platform, `max_duration`): raise it, or each end costs a resume'
    return { topic: 'idle', level: 'problem', seen, expected, fix }
  }
  const seen = `the stream was ${how} after ${ms(silence)} of silence; ${said}`
  return { topic: 'idle', level: 'problem', seen, expected, fix: fixOf('idle', hosts) }
}
