import { LANE, LANE_HEADER } from '../../protocol'
import { badRequest } from '../errors'
import { type Place, PlaceQueues } from './placeQueue'

/**
 * Whose order it is. A lane is one stream's: two pages of one principal know nothing of each other,
 * nor of each other's failures.
 */
export interface LaneOwner {
  readonly principalId: string
  readonly connectionId: string
}

/** The order of what waits in this process, lane by lane. */
export class Lanes {
  readonly #queues = new PlaceQueues()

  get size() {
    return this.#queues.size
  }

  /** Messages without a lane share one of their own. */
  join({ principalId, connectionId }: LaneOwner, lane: string | undefined): Place {
    return this.#queues.join(JSON.stringify([principalId, connectionId, lane]))
  }
}

export const LANE_RULE =
  'lane must be a text of at most 256 characters, none of them a control character or a lone surrogate'

/** @throws Refusal 400 if it is no name */
export function checkedLane(lane: unknown): string | undefined {
  if (lane === undefined || (typeof lane === 'string' && LANE.test(lane))) return lane
  throw badRequest(LANE_RULE)
}

/** As a header has it. @throws Refusal 400 if it is no name */
export function laneOf(header: string | null): string | undefined {
  try {
    return checkedLane(header === null ? undefined : decodeURIComponent(header))
  } catch {
    throw badRequest(`${LANE_HEADER}, URL-decoded: ${LANE_RULE}`)
  }
}
