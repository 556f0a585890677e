import { begin, type WorldOptions } from './course'
import { heals } from './healing'

export type World = ReturnType<typeof createWorld>
/**
 * A connection, and a server of which every single step is taken by a letter of the alphabet. What
 * was started stays open until a letter ends it; a request that was aborted can still be answered.
 */
export function createWorld(options: WorldOptions = {}) {
  const course = begin(options)
  return {
    ...course,
    /**
     * I9: hands the world to a healthy network; a stream that has died stays dead. Throws if that
     * does not lead to an open line that is up to date.
     */
    heals: () => heals(course),
  }
}
