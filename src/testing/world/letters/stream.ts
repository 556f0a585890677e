import { isAsk, type TestPost } from '../../harness/network'
import { type Alphabet, command, down, ends, says, TWO_SECONDS } from '../letter'
import type { Line } from '../lines'

const MAX_WELCOMES = 2

export const isWelcomed = ({ welcomes }: Line) => welcomes > 0

export const STREAM: Alphabet = {
  'stream opened': down(
    (line, world) => world.opens(line),
    ({ isOpened, welcomes }) => !isOpened && !welcomes,
  ),
  'stream welcomed': down(
    (line, world) => world.welcomes(line),
    ({ welcomes }) => welcomes < MAX_WELCOMES,
  ),
  'stream failed': down(({ stream }) => stream.fails()),
  'stream refused 401': down(
    ({ stream }) => stream.fails(401),
    ({ welcomes }) => !welcomes,
  ),
  // The connection asks why, and is told.
  'ask 401': ends(isAsk, says(401)),
  'ask 429': ends(isAsk, says(429, TWO_SECONDS)),
  'ask lost': ends(isAsk, (post) => post.fails()),
  // Three in a row are one too many.
  'stream refused 403': down(
    ({ stream }) => stream.fails(403),
    ({ welcomes }) => !welcomes,
  ),
  'stream silent': down((line) => {
    line.isDead = true
  }),
  goodbye: down(({ stream }) => stream.sends({ type: 'goodbye', retryAfter: 2_000 }), isWelcomed),
  event: command(
    (world) => world.publishes('s1'),
    (world) => world.head('s1') < world.atMost.events && (!!world.connection.cursor('s1') || !!world.live()?.isOpened),
  ),
  'event gapped': command(
    (world) => {
      world.publishes('s1', { isLost: true })
      world.publishes('s1')
    },
    (world) =>
      world.features.includes('contiguous-seq') &&
      !!world.flowing()?.sent.has('s1') &&
      world.head('s1') + 1 < world.atMost.events,
  ),
  'event repeated': down(
    ({ stream }, { event, head }) => stream.sends({ ...event, sessionId: 's1', seq: head('s1') }),
    ({ sent }, world) => world.head('s1') > 0 && sent.get('s1') === world.head('s1'),
  ),
  replayed: command(
    (world) => world.replays(),
    (world) => world.isReplaying(),
  ),
  'probe answered': command(
    (world) => world.proves(world.probing() as TestPost),
    (world) => !!world.probing(),
  ),
}
