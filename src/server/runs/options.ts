import { isObject } from '../../protocol'
import { checkFunction, checkNames, checkNumber, MAX_TIMER } from '../check'
import { partsOf } from '../parts'
import type { Coalesce, ResumeOptions, RunsOptions, StartOptions } from './api'
import { isRunName, RUN_NAME_RULE } from './runName'

const BUSY = ['reject', 'queue', 'interrupt'] as const
/** What is kept of a suspended run outlives a day by far. ms. */
const MAX_SUSPENSION = 31_536_000_000

/** @throws TypeError naming the option that is invalid or unknown */
export function resolveRuns(options: RunsOptions) {
  checkNames('createRuns', options, ['server', 'lease', 'coalesce', 'onBusy', 'suspendAge'])
  const { server, lease = 5_000, coalesce, onBusy = 'reject', suspendAge = 86_400_000 } = options
  const parts = partsOf(server)
  if (!parts) throw new TypeError("createRuns: 'server' must be made by createChatServer")
  const { joinRuns } = parts.log
  if (!joinRuns) {
    throw new TypeError(
      "createRuns: the log of this server keeps no runs, it has no 'joinRuns'; memoryLog and redisLog have one",
    )
  }
  checkNumber('lease', lease, { integer: true, min: 1_000, max: MAX_TIMER })
  checkNumber('suspendAge', suspendAge, { integer: true, max: MAX_SUSPENSION })
  if (!BUSY.includes(onBusy)) throw new TypeError(`'onBusy' must be one of ${BUSY.join(', ')}`)
  checkCoalesce(coalesce)
  return { parts, joinRuns, lease, coalesce, onBusy, suspendAge }
}

export type ResolvedRuns = ReturnType<typeof resolveRuns>

/** @throws TypeError */
export function checkStart(options: StartOptions) {
  checkNames('start', options, ['id', 'coalesce', 'prompt'])
  if (options.id !== undefined && !isRunName(options.id)) throw new TypeError(`start: 'id' ${RUN_NAME_RULE}`)
  if (options.prompt !== undefined && !isObject(options.prompt)) throw new TypeError("start: 'prompt' must be an event")
  checkCoalesce(options.coalesce)
}

/** @throws TypeError */
export function checkResume(options: ResumeOptions) {
  checkNames('resume', options, ['waitsFor', 'coalesce'])
  checkCoalesce(options.coalesce)
}

function checkCoalesce(coalesce: Coalesce | undefined) {
  if (coalesce === undefined) return
  checkNames('coalesce', coalesce, ['join', 'delay'])
  checkFunction('coalesce.join', coalesce.join)
  if (coalesce.delay !== undefined) checkNumber('coalesce.delay', coalesce.delay, { min: 0, max: 10_000 })
}
