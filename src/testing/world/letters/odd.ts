import type { TestPost } from '../../harness/network'
import { type Alphabet, down, ends, type Letter } from '../letter'
import { isBatch, isResume } from '../posts'
import type { World } from '../world'
import { isWelcomed } from './stream'

/** A server that has said `resumed` in the marker does not say otherwise in the answer. */
const loses = (status: 'reset' | 'gone'): Letter => {
  const resume = (world: World) => world.pending((post) => isResume(post) && !world.isMarked(post))
  return {
    isEnabled: (world) => !!resume(world),
    act: (world) => world.loses(resume(world) as TestPost, status),
  }
}

/**
 * A server that has lost something, to be added to `ALPHABET`: it is the app that has to do
 * something about it.
 */
export const RESETS: Alphabet = {
  // History was lost: what is shown is stale. The cursors are at the head.
  'resume reset': loses('reset'),
  'resume gone': loses('gone'),
}

/** The first message is taken, the others are refused. */
const mixed = ({ body }: TestPost) =>
  (body.messages as readonly { id: string }[]).map(({ id }, index) => ({ id, status: index ? 403 : 200, receipt: {} }))

/**
 * What is rarer, to be added to `ALPHABET`: answers that are half good, late or out of order, and
 * an app that throws.
 */
export const ODDITIES: Alphabet = {
  'batch mixed': ends(isBatch, (post) => post.answers(200, { results: mixed(post) })),
  // The order is a promise of the protocol: nothing may be taken from one that breaks it.
  'batch shuffled': ends(isBatch, (post) => post.answers(200, { results: mixed(post).reverse() })),
  'late probe answer': down(
    ({ stream }) => stream.sends({ type: 'probe', nonce: 'of another' }),
    (_, world) => !!world.probing(),
  ),
  // It was on its way when the server was told.
  'event after unwatch': down(
    ({ stream }, { event, heads, head }) => {
      const seq = head('s1') + 1
      heads.set('s1', seq)
      stream.sends({ ...event, sessionId: 's1', seq })
    },
    ({ welcomes }, world) => welcomes > 0 && world.left.has('s1') && world.head('s1') < world.atMost.events,
  ),
  // As fast as it can.
  'welcomed ten times': down((line, world) => {
    for (let welcome = 0; welcome < 10; welcome++) world.welcomes(line)
  }, isWelcomed),
  'listener throws thrice': down(
    (_, world) => {
      world.throwsThrice()
      world.publishes('s1')
    },
    ({ sent }, world) =>
      sent.get('s1') === world.head('s1') && !world.memory().throwsLeft && world.head('s1') < world.atMost.events,
  ),
}
