import { assign, emit, sendTo } from 'xstate'
import type { ConnectionError } from '../errors'
import { notProvided } from '../machine/outboxMachine'
import { setup } from '../machine/setup'
import { hasChanged, isCurrent, isNewer, outranks } from './facts'
import type {
  ChannelCommand,
  JoinInput,
  LineCommand,
  LineInput,
  Standing,
  TabContext,
  TabEmitted,
  TabEvent,
  TabInput,
  TabRole,
  Told,
} from './types'

/** ms. docs/internals/tabs.md says what each of them bounds. */
const HAIL_TIMEOUT = 2_000
const STEAL_TIMEOUT = 2_000
const JOIN_TIMEOUT = 2_000
const DOUBT_TIMEOUT = 4_000
const HAND_OVER_TIMEOUT = 1_000
const STEAL_BOUND = 60_000
const SHARE_DELAY = 60_000

/** The actors, actions, guards and delays that the chart names. */
export const tabSetup = setup({
  types: {} as {
    context: TabContext
    events: TabEvent
    emitted: TabEmitted
    input: TabInput
    tags: TabRole
  },

  actors: {
    /** Tells every `page.*` fact, and at once how the page is. */
    page: notProvided<undefined>(),
    /** Tells every `leader.*` and `tab.*` fact but silence; says what it is told to. */
    channel: notProvided<undefined>(),
    /** Waits for the lock, holds it, and steals it when told to: tells every `lock.*` fact. */
    lock: notProvided<undefined>(),
    /** Tells `leader.silent`. */
    leaderWatch: notProvided<undefined>(),
    /** Posts the proof, and waits for its echo: tells every `join.*` fact. */
    join: notProvided<JoinInput>(),
    /** Gives the connection the leader's stream, and takes it away when it ends. */
    relay: notProvided<undefined>(),
    /** The stream that all share. */
    line: notProvided<LineInput>(),
    /** A stream of this tab's own. */
    ownLine: notProvided<undefined>(),
  },

  actions: {
    recordWanted: assign({ stream: 'wanted' }),
    recordUnwanted: assign({ stream: 'unwanted' }),
    recordStanding: assign(({ context }, { standing }: { standing: Standing }) => ({
      standing: context.standing === 'worker' ? ('worker' as const) : standing,
    })),
    recordLeader: assign((_, { tab, term, line }: Told) => ({ leader: tab, term, line })),
    recordLine: assign((_, { line }: Told) => ({ line })),
    forgetLeader: assign({ leader: null, line: null }),
    recordLead: assign(({ context: { tab, term, now } }) => ({
      leader: tab,
      line: null,
      term: Math.max(term + 1, Math.round(now())),
    })),
    recordSteal: assign({ stolenAt: ({ context }) => context.now() }),
    recordHeir: assign((_, { tab }: { tab: string }) => ({ heir: tab })),

    sayHello: sendTo('channel', ({ context }): ChannelCommand => ({ type: 'hello', standing: context.standing })),
    sayWant: sendTo('channel', ({ context }): ChannelCommand => ({ type: 'want', standing: context.standing })),
    sayCede: sendTo('channel', ({ context }): ChannelCommand => ({ type: 'cede', to: context.heir as string })),
    sayDoubt: sendTo('channel', ({ context }): ChannelCommand => ({ type: 'doubt', line: context.line as string })),
    sayEnd: sendTo('channel', { type: 'end' } satisfies ChannelCommand),
    tellLine: sendTo('line', ({ context }): LineCommand => ({ type: 'tell', standing: context.standing })),
    stealLock: sendTo('lock', { type: 'steal' }),

    emitReady: emit({ type: 'ready' }),
    emitOwn: emit((_, { error }: { error: ConnectionError }) => ({ type: 'own' as const, error })),
    emitEnded: emit({ type: 'ended' }),
  },

  guards: {
    isUnfit: (args, told: Told) => (isNewer(args, told) || isCurrent(args, told)) && told.fitness === 'unfit',
    isNewer: (args, told: Told) => isNewer(args, told),
    isNewerAndUp: (args, told: Told) => isNewer(args, told) && told.line !== null,
    isNewerAndWanted: (args, told: Told) =>
      isNewer(args, told) && told.line !== null && args.context.stream === 'wanted',
    comesUp: (args, told: Told) => hasChanged(args, told) && told.line !== null,
    comesUpWanted: (args, told: Told) =>
      hasChanged(args, told) && told.line !== null && args.context.stream === 'wanted',
    goesDown: (args, told: Told) => hasChanged(args, told),
    isBetter: (args, told: Told) => isCurrent(args, told) && outranks(args.context.standing, told.standing),
    isOutranked: ({ context }, { standing }: { standing: Standing }) => outranks(standing, context.standing),
    isUp: ({ context }) => context.line !== null,
    isWanted: ({ context }) => context.stream === 'wanted',
    isSeen: ({ context }) => context.standing !== 'hidden',
    maySteal: ({ context: { standing, stolenAt, now } }) => standing !== 'hidden' && now() - stolenAt >= STEAL_BOUND,
  },

  delays: {
    // Not all at once: one steal is enough.
    hailTimeout: ({ context }) => HAIL_TIMEOUT * (1 + context.random() / 4),
    stealTimeout: () => STEAL_TIMEOUT,
    joinTimeout: () => JOIN_TIMEOUT,
    doubtTimeout: () => DOUBT_TIMEOUT,
    handOverTimeout: () => HAND_OVER_TIMEOUT,
    shareDelay: () => SHARE_DELAY,
  },
})
