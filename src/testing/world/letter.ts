import type { TestPost } from '../harness/network'
import type { Line } from './lines'
import type { World } from './world'

/**
 * One thing that can happen to a connection: the app, the page, the server, the network or time
 * does it.
 */
export interface Letter {
  /** Whether it can happen now. */
  isEnabled(world: World): boolean
  act(world: World): unknown
}
export type Alphabet = Readonly<Record<string, Letter>>

const always = () => true
export const isActive = ({ connection }: World) => connection.phase !== 'idle'

/** Something that the app, the page or time does. */
export const command = (act: Letter['act'], isEnabled: Letter['isEnabled'] = always): Letter => ({ isEnabled, act })

/** Something that the server does on the live stream. */
export const down = (
  act: (line: Line, world: World) => void,
  can: (line: Line, world: World) => boolean = always,
): Letter => ({
  isEnabled: (world) => {
    const line = world.flowing()
    return !!line && can(line, world)
  },
  act: (world) => act(world.flowing() as Line, world),
})

/** How the oldest POST of a kind that is not answered yet ends. */
export const ends = (is: (post: TestPost) => boolean, act: (post: TestPost, world: World) => void): Letter => ({
  isEnabled: (world) => !!world.pending(is),
  act: (world) => act(world.pending(is) as TestPost, world),
})

export const accepts = (post: TestPost, world: World) => world.accepts(post)
export const says =
  (status: number, headers?: Readonly<Record<string, string>>, body: object = {}) =>
  (post: TestPost) =>
    post.answers(status, body, headers)
export const TWO_SECONDS = { 'retry-after': '2' }
