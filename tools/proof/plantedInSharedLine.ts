import type { PlantedBug } from './plantedBug'

const TAB = 'src/tabs/tab.ts'
const CARRIER = 'src/tabs/tabCarrier.ts'
const LINE = 'src/tabs/sharedLine.ts'
const RESUMES = 'src/tabs/resumes.ts'
const ROUND = 'src/tabs/round.ts'

/**
 * What goes wrong on the line that tabs share: its stream, its frames, and its resumes.
 * `showsInTabs` are letters of `npm run explore -- tabs`.
 */
export const PLANTED_IN_SHARED_LINE: readonly PlantedBug[] = [
  {
    row: 'tabs',
    bug: 'a tab that leads no more leaves its stream open',
    file: LINE,
    within: 'SharedLine.close',
    find: 'this.#close?.()',
    replace: '',
    showsInTabs: { invariant: 'I1', set: 'two', path: 'a opens, a disconnects' },
  },
  {
    row: 'tabs',
    bug: 'a round does not wait for the one before it',
    file: RESUMES,
    within: 'Resumes.#pump',
    find: 'if (this.#turn || !next) return',
    replace: 'if (!next) return',
    showsInTabs: {
      invariant: 'I2',
      set: 'two',
      path: 'a opens, b opens, a network stalls, a watches s2, b watches s2',
    },
  },
  {
    row: 'tabs',
    bug: 'a line that has ended goes on telling of itself',
    file: LINE,
    within: 'SharedLine.end',
    find: 'this.#setup.clock.clearTimeout(this.#timer)',
    replace: '',
    showsInTabs: { invariant: 'I8', set: 'two', path: 'a opens, a disconnects' },
  },
  {
    row: 'tabs',
    bug: 'a frame that a tab has missed is not noticed',
    file: TAB,
    within: 'Tab.#countFrame',
    find: "if (this.#heard.term === term && this.#heard.n !== before) tell({ type: 'frames.lost' })",
    replace: '',
    showsInTabs: { invariant: 'I9', set: 'two', path: 'a opens, b opens, b misses messages, an event' },
  },
  {
    row: 'tabs',
    bug: 'a round resumes from the highest cursor',
    file: ROUND,
    within: 'gather',
    find: 'known.lastSeq > cursor.lastSeq',
    replace: 'known.lastSeq < cursor.lastSeq',
    showsInTabs: { invariant: 'I9', set: 'two', path: 'a opens, an event, b opens' },
  },
  {
    row: 'tabs',
    bug: 'a tab hears the sessions of the others',
    file: CARRIER,
    within: 'TabCarrier.#isNews',
    find: 'return this.#attended.has(sessionId)',
    replace: 'return true',
    showsInTabs: { invariant: 'I10', set: 'two', path: 'a opens, b opens, b watches s2, an event of s2' },
  },
  {
    row: 'tabs',
    bug: 'a session is detached while another tab attends it',
    file: RESUMES,
    within: 'Resumes.#detach',
    find: 'if (this.#places.get(sessionId)?.tabs.size) {',
    replace: "if (sessionId === '') {",
    showsInTabs: { invariant: 'I9', set: 'two', path: 'a opens, b opens, b closes, b opens, b closes' },
  },
  {
    row: 'tabs',
    bug: 'the server is told that the page is away when the first tab sleeps',
    file: LINE,
    within: 'SharedLine.#suspend',
    find: 'resumes.tabs.every(',
    replace: 'resumes.tabs.some(',
    showsInTabs: { invariant: 'I9', set: 'detaching', path: 'a opens, b opens, b is hidden, b closes, an event' },
  },
  {
    row: 'tabs',
    bug: 'after a suspend the stream is taken to be where it was',
    file: LINE,
    within: 'SharedLine.#suspend',
    find: 'resumes.letGo()',
    replace: '',
    showsInTabs: { invariant: 'I9', set: 'detaching', path: 'a opens, a is hidden, a is shown, an event' },
  },
  {
    row: 'tabs',
    bug: 'a tab reads open though the line that it follows is lost',
    file: TAB,
    within: 'Tab.#relay',
    find: 'carrier.drop(this.#error)',
    replace: '',
    showsInTabs: { invariant: 'app', set: 'two', path: 'a opens, b opens, a stream is cut' },
  },
  {
    row: 'tabs',
    bug: 'a reset of the lowest cursor leaves the others where it went',
    file: RESUMES,
    within: 'Resumes.#settle',
    find: 'return isLost ? stood : undefined',
    replace: 'return undefined',
  },
  {
    row: 'tabs',
    bug: 'a tab hears a stream before it has proved to be its user’s',
    file: CARRIER,
    within: 'TabCarrier.hear',
    find: 'else if (!this.#source) return',
    replace: '',
    showsInTabs: { invariant: 'app', set: 'users', path: 'a opens, b opens, a is hidden, an event' },
  },
  {
    row: 'tabs',
    bug: 'a resume that a tab makes for all outlives its stream',
    file: LINE,
    within: 'SharedLine.#fall',
    find: 'for (const abort of this.#posts) abort.abort()',
    replace: '',
    showsInTabs: { invariant: 'I8', set: 'two', path: 'a opens, a network stalls, a watches s2, a disconnects' },
  },
  {
    row: 'tabs',
    bug: 'a suspend that a tab posts for all leaves a timer behind',
    file: LINE,
    within: 'SharedLine.#suspend',
    find: '{ keepalive }',
    replace: '{ keepalive, timeout: this.#setup.timeout }',
    showsInTabs: {
      invariant: 'I8',
      set: 'two',
      path: 'a opens, b opens, b closes, a is hidden, a is shown, a network stalls, a is hidden, a disconnects',
    },
  },
]
