import { type Alphabet, command, isActive } from '../letter'
import type { World } from '../world'

const canSend = ({ deliveries, atMost }: World) => deliveries.length < atMost.messages
const hasSomethingToPost = ({ connection }: World) => connection.pending.length + connection.cursors.length > 0

export const APP: Alphabet = {
  connect: command(({ connection }) => connection.connect()),
  disconnect: command(({ connection }) => connection.disconnect()),
  reconnect: command(({ connection }) => connection.reconnect()),
  wake: command(({ connection }) => connection.wake()),
  send: command((world) => world.sendsMessage(), canSend),
  'send apart': command((world) => world.sendsMessage('apart'), canSend),
  cancel: command(
    ({ connection }) => connection.pending[0]?.cancel(),
    ({ connection }) => connection.pending.length > 0,
  ),
  'watch s1': command(
    ({ watches }) => watches('s1'),
    ({ connection }) => !connection.cursor('s1'),
  ),
  // From now on: the history is passed over.
  'watch s1 from its head': command(
    ({ watches }) => watches('s1', { after: 'head' }),
    ({ connection, head }) => !connection.cursor('s1') && head('s1') > 0,
  ),
  // Another part of the page wants it as well.
  'watch s1 twice': command(
    ({ watches }) => watches('s1'),
    ({ connection, holdsOf }) => !!connection.cursor('s1') && holdsOf('s1') === 1,
  ),
  // One part of the page does not want it any more.
  'release s1': command(
    ({ releases }) => releases('s1'),
    ({ holdsOf }) => holdsOf('s1') > 0,
  ),
  'watch s2': command(
    ({ watches }) => watches('s2'),
    ({ connection }) => !!connection.cursor('s1') && !connection.cursor('s2'),
  ),
  // For the whole page.
  'unwatch s1': command(
    ({ leaves }) => leaves('s1'),
    ({ connection }) => !!connection.cursor('s1'),
  ),
  'headers wait': command(
    (world) => world.letHeadersWait(),
    (world) => isActive(world) && !world.memory().isSlow && hasSomethingToPost(world),
  ),
  'headers come': command(
    (world) => world.letHeadersCome(),
    (world) => world.memory().isSlow,
  ),
}
