import { clampServerDelay } from '../protocol/delay'
import type { ServerDelay } from './types'

export interface BackoffRequest {
  /** 0 for the first retry. */
  readonly attempt: number
  readonly base: number
  readonly cap: number
  readonly random: () => number
  readonly server?: ServerDelay | undefined
}

/**
 * How long to wait before the next attempt, ms.
 *
 * Full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015): uniform
 * between 0 and the exponential bound, so clients that failed together do not return together, at
 * the cap either. A wait that the server asked for is a floor, with jitter of its own on top:
 * `spread`, or half of the wait.
 */
export function backoffDelay({ attempt, base, cap, random, server = {} }: BackoffRequest): number {
  const jittered = random() * Math.min(cap, base * 2 ** Math.min(attempt, 31))
  const floor = clampServerDelay(server.retryAfter ?? 0)
  const spread = clampServerDelay(server.spread ?? floor / 2)
  return Math.round(Math.max(jittered, floor + random() * spread))
}
