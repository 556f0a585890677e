import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { bundleSize, withProgram } from './build'
import type { Peer } from './peers'
import {
  busy,
  drop,
  inbound,
  promptIntoSilence,
  promptUnanswered,
  promptWhileDown,
  type Subject,
  silent,
} from './scenarios'
import type { Results, Row } from './table'

export interface Options {
  readonly peers: readonly Peer[]
  readonly messages: number
  readonly rounds: number
  onProgress(line: string): void
}

/**
 * Clients at a time: where milliseconds count, of each measurement that waits, and of the one that
 * waits longest.
 */
const TIMED = 4
const WAITING = 5
const WAITING_LONGEST = 12

export const run = (options: Options): Promise<Results> =>
  withProgram(async (program) => {
    const { peers, messages, rounds, onProgress } = options
    const subjects = peers.map((peer): Subject => ({ peer, program }))
    const senders = subjects.filter(({ peer }) => peer.sends)

    onProgress('bundles')
    const bundles = await Promise.all(peers.map(({ imports }) => bundleSize(imports)))
    const flooded = await repeat('inbound', subjects, 1, (subject) => inbound(subject, messages))
    const dropped = await repeat('a destroyed socket', subjects, TIMED, drop)
    const [busied, silenced, down, dead, unanswered] = await Promise.all([
      repeat('503', subjects, WAITING, (subject) => busy(subject)),
      repeat('a dead line', subjects, WAITING_LONGEST, silent),
      repeat('a prompt while the line is down', senders, WAITING, promptWhileDown),
      repeat('a prompt into a dead line', senders, WAITING, promptIntoSilence),
      repeat('a prompt whose answer is lost', senders, WAITING, promptUnanswered),
    ])
    const rows = subjects.map(
      (subject, index): Row => ({
        name: subject.peer.name,
        versions: subject.peer.packages.map((name) => `${name} ${versionOf(name)}`),
        carrier: subject.peer.carrier,
        server: subject.peer.server,
        bundle: bundles[index] ?? Number.NaN,
        inbound: flooded.get(subject) ?? [],
        drop: dropped.get(subject) ?? [],
        busy: busied.get(subject) ?? [],
        silent: silenced.get(subject) ?? [],
        promptWhileDown: down.get(subject) ?? [],
        promptIntoSilence: dead.get(subject) ?? [],
        promptUnanswered: unanswered.get(subject) ?? [],
      }),
    )
    const node = process.versions.node
    return { at: new Date().toISOString(), node, cores: availableParallelism(), messages, rounds, rows }

    /** Round by round, so that what disturbs the machine for a while disturbs all of them. */
    async function repeat<T>(
      what: string,
      of: readonly Subject[],
      atATime: number,
      measure: (subject: Subject) => Promise<T>,
    ): Promise<ReadonlyMap<Subject, readonly T[]>> {
      const results = new Map<Subject, T[]>(of.map((subject) => [subject, []]))
      const queue = Array.from({ length: rounds }, () => of).flat()
      let done = 0
      const worker = async () => {
        for (let subject = queue.shift(); subject; subject = queue.shift()) {
          const result = await measure(subject)
          results.get(subject)?.push(result)
          done++
          if (done % of.length === 0) onProgress(`${what}: ${done} of ${rounds * of.length}`)
        }
      }
      await Promise.all(Array.from({ length: atATime }, worker))
      return results
    }
  })

function versionOf(name: string): string {
  const paths =
    name === 'holdline'
      ? ['../../../package.json']
      : ['.', '../../..'].map((path) => `${path}/node_modules/${name}/package.json`)
  const found = paths.map((path) => new URL(path, import.meta.url)).find((url) => existsSync(url))
  return found ? JSON.parse(readFileSync(found, 'utf8')).version : '?'
}
