import { FEATURES } from '../../../src/protocol'
import type { TabOptions } from './expand'

const HEARTBEAT = 20_000

/** Browsers, and what is told apart in each. */
export const SETS: Readonly<Record<string, TabOptions>> = {
  two: { tabs: { a: {}, b: {} }, heartbeat: HEARTBEAT },
  three: { tabs: { a: {}, b: {}, c: {} }, heartbeat: HEARTBEAT },
  /** No ping tells that the line lives, and a suspend detaches its sessions. */
  detaching: { tabs: { a: {}, b: {} }, features: FEATURES.filter((feature) => feature !== 'suspend-keeps') },
  /** The server loses what it had. */
  restarts: { tabs: { a: {}, b: {} }, heartbeat: HEARTBEAT, restarts: true },
  /** Tabs of two users under one name. */
  users: { tabs: { a: {}, b: { user: 'you' }, c: {} }, heartbeat: HEARTBEAT },
  /** Two deployed versions of what is said on the channel. */
  builds: { tabs: { a: {}, b: { build: 2 }, c: {} }, heartbeat: HEARTBEAT },
  /** `disconnect()` is a logout, in every tab. */
  logout: {
    tabs: { a: { disconnects: 'all' }, b: { disconnects: 'all' }, c: { disconnects: 'all' } },
    heartbeat: HEARTBEAT,
  },
}

/** All tabs are open, and share a line. */
export const rootOf = ({ tabs }: TabOptions) => Object.keys(tabs).map((name) => `${name} opens`)
