import { type Alphabet, command } from './letter'
import { APP } from './letters/app'
import { LATE } from './letters/late'
import { PAGE } from './letters/page'
import { POSTS } from './letters/posts'
import { STREAM } from './letters/stream'

const TIME: Alphabet = {
  'time passes': command(
    (world) => world.passes(),
    ({ timers }) => timers.size > 0,
  ),
}

/**
 * Everything that can happen to a connection. An app adds letters of its own, or leaves some out.
 */
export const ALPHABET: Alphabet = { ...APP, ...PAGE, ...STREAM, ...POSTS, ...TIME, ...LATE }
