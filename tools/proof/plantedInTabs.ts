import type { PlantedBug } from './plantedBug'

const MACHINE = 'src/tabs/tabMachine.ts'
const SETUP = 'src/tabs/tabSetup.ts'
const TAB = 'src/tabs/tab.ts'
const CARRIER = 'src/tabs/tabCarrier.ts'
const LOCK = 'src/tabs/lock.ts'
const CREATE = 'src/tabs/createSharedConnection.ts'

/**
 * What goes wrong between tabs that share a line: who leads, who joins, and who leaves.
 * `showsInTabs` are letters of `npm run explore -- tabs`.
 */
export const PLANTED_IN_TABS: readonly PlantedBug[] = [
  {
    row: 'tabs',
    bug: 'a leader whose lock was stolen goes on',
    file: MACHINE,
    within: 'tabMachine',
    find: "'lock.lost': { target: 'electing', actions: 'forgetLeader' },",
    replace: "'lock.lost': {},",
    showsInTabs: { invariant: 'I1', set: 'two', path: 'a opens, b opens, a misses messages, the lock is stolen' },
  },
  {
    row: 'tabs',
    bug: 'a tab that leaves keeps its channel',
    file: TAB,
    within: 'Tab.#openChannel',
    find: 'channel.close()',
    replace: '',
    showsInTabs: { invariant: 'I8', set: 'two', path: 'a opens, a disconnects' },
  },
  {
    row: 'tabs',
    bug: 'a tab that leaves keeps the lock',
    file: LOCK,
    within: 'TabLock.#request',
    find: "state = 'over'\n      release()",
    replace: "state = 'over'",
    showsInTabs: { invariant: 'I8', set: 'two', path: 'a opens, a disconnects' },
  },
  {
    row: 'tabs',
    bug: 'a tab whose connection is idle stays with the others',
    file: CREATE,
    within: 'createSharedConnection',
    find: "if (phase === 'idle') actor.send({ type: 'leave' })",
    replace: '',
    showsInTabs: { invariant: 'I8', set: 'two', path: 'a opens, a disconnects' },
  },
  {
    row: 'tabs',
    bug: 'a tab that finds no proof waits for ever',
    file: MACHINE,
    within: 'tabMachine',
    find: "doubtTimeout: alone('the stream that the tabs share knows no proof of it; another user, perhaps',),",
    replace: '',
    showsInTabs: { invariant: 'I9', set: 'users', path: 'a opens, b opens' },
  },
  {
    row: 'tabs',
    bug: 'a tab joins without proof, and hears another user’s events',
    file: CARRIER,
    within: 'TabCarrier.prove',
    find: 'this.#proofs.set(nonce, onProof)',
    replace: 'onProof()',
    showsInTabs: { invariant: 'app', set: 'users', path: 'a opens, b opens, an event' },
  },
  {
    row: 'tabs',
    bug: 'the terms of a tab that has heard of none begin at 1',
    file: SETUP,
    within: 'tabSetup',
    find: 'term: Math.max(term + 1, Math.round(now())),',
    replace: 'term: term + Math.min(1, now()),',
  },
  {
    row: 'tabs',
    bug: 'a leader that is silent is followed for ever',
    file: MACHINE,
    within: 'tabMachine',
    find: "'leader.silent': { target: 'electing', actions: 'forgetLeader' },",
    replace: "'leader.silent': {},",
    showsInTabs: {
      invariant: 'I9',
      set: 'two',
      path: 'a opens, b opens, a closes, b lags, the network is gone, a opens, a minute passes',
    },
  },
  {
    row: 'tabs',
    bug: 'a tab that is frozen keeps the line',
    file: MACHINE,
    within: 'tabMachine',
    find: "'page.left': { target: 'away', actions: 'forgetLeader' },",
    replace: '',
  },
  {
    row: 'tabs',
    bug: 'a tab steals the lock as often as it likes',
    file: SETUP,
    within: 'tabSetup',
    find: "standing !== 'hidden' && now() - stolenAt >= STEAL_BOUND",
    replace: "standing !== 'hidden' && now() >= stolenAt",
  },
  {
    row: 'tabs',
    bug: 'a logout ends the line of one tab only',
    file: CREATE,
    within: 'createSharedConnection',
    find: "actor.on('ended', disconnect)",
    replace: '',
  },
  {
    row: 'tabs',
    bug: 'a tab in its backoff is not woken when there is a line',
    file: CREATE,
    within: 'createSharedConnection',
    find: "if (connection.phase === 'backoff' && !isAskedToWait(connection, view)) connection.wake()",
    replace: '',
  },
]
