import { assign, emit, sendTo } from 'xstate'
import type { ConnectionError } from '../errors'
import { notProvided, withEvent } from '../machine/outboxMachine'
import { setup } from '../machine/setup'
import { hasChanged, isCurrent, isNewer, outranks } from './facts'
import { alone, broken, follow, followUp, standing, toldUnfit, unfit } from './transitions'
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

/**
 * What one tab is to the others that share a line with it. docs/internals/tabs.md has the diagram
 * and says what each state promises.
 */
export const tabMachine = setup({
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
}).createMachine({
  id: 'tabs',
  context: ({ input }) => ({
    ...input,
    term: 0,
    leader: null,
    line: null,
    stream: 'unwanted',
    stolenAt: Number.NEGATIVE_INFINITY,
    heir: null,
  }),

  initial: 'apart',
  states: {
    apart: {
      id: 'apart',
      tags: 'apart',
      on: {
        'stream.wanted': { target: 'active', actions: 'recordWanted' },
      },
    },

    active: {
      invoke: { src: 'page', id: 'page', onError: broken },
      on: {
        leave: { target: 'apart', actions: ['recordUnwanted', 'forgetLeader'] },
        'stream.wanted': { actions: 'recordWanted' },
        'stream.unwanted': { actions: 'recordUnwanted' },
        'page.shown': { actions: standing('visible') },
        'page.hidden': { actions: standing('hidden') },
      },

      initial: 'present',
      states: {
        present: {
          id: 'present',
          invoke: [
            { src: 'channel', id: 'channel', onError: broken },
            { src: 'lock', id: 'lock', onError: broken },
          ],
          on: {
            'page.left': { target: 'away', actions: 'forgetLeader' },
            'lock.granted': { target: '.leading', actions: ['recordLead', 'emitReady'] },
            'lock.failed': alone('the Web Lock has failed; see cause'),
            'leader.told': [toldUnfit, ...follow],
            end: { actions: 'sayEnd' },
            'tab.ended': { actions: 'emitEnded' },
          },

          initial: 'electing',
          states: {
            electing: {
              id: 'electing',
              tags: 'electing',
              on: {
                'leader.ceded': { target: '.stealing' },
              },

              initial: 'hailing',
              states: {
                hailing: {
                  entry: 'sayHello',
                  on: {
                    'page.shown': { target: 'hailing', reenter: true, actions: standing('visible') },
                  },
                  after: {
                    hailTimeout: [
                      { guard: 'maySteal', target: 'stealing', actions: 'recordSteal' },
                      { guard: 'isSeen', ...alone('the tab that leads does not answer') },
                      { target: 'hailing', reenter: true },
                    ],
                  },
                },
                stealing: {
                  id: 'stealing',
                  entry: 'stealLock',
                  after: {
                    stealTimeout: alone('the Web Lock is not given'),
                  },
                },
              },
            },

            following: {
              id: 'following',
              tags: 'following',
              invoke: {
                src: 'leaderWatch',
                id: 'leaderWatch',
                onError: broken,
              },
              on: {
                'leader.silent': { target: 'electing', actions: 'forgetLeader' },
                'leader.ceded': { target: '#stealing', actions: 'forgetLeader' },
                'leader.told': [
                  toldUnfit,
                  { guard: withEvent('comesUpWanted'), target: '#joining', actions: withEvent('recordLine') },
                  { guard: withEvent('comesUp'), target: '.waiting', actions: [withEvent('recordLine'), 'emitReady'] },
                  { guard: withEvent('goesDown'), target: '.waiting', actions: withEvent('recordLine') },
                  { guard: withEvent('isBetter'), actions: 'sayWant' },
                  ...follow,
                ],
                'page.shown': { actions: [standing('visible'), 'sayHello'] },
              },

              initial: 'waiting',
              states: {
                waiting: {
                  on: {
                    'stream.wanted': [
                      { guard: 'isUp', target: 'joining', actions: 'recordWanted' },
                      { actions: 'recordWanted' },
                    ],
                  },
                },
                joining: {
                  id: 'joining',
                  invoke: {
                    src: 'join',
                    id: 'join',
                    input: ({ context }) => ({ line: context.line as string }),
                    onError: broken,
                  },
                  on: {
                    'join.proved': { target: 'joined' },
                    'join.refused': { target: 'doubtful' },
                    'join.failed': { target: 'waiting' },
                    'stream.unwanted': { target: 'waiting', actions: 'recordUnwanted' },
                  },
                  after: {
                    joinTimeout: { target: 'doubtful' },
                  },
                },
                // Whether or not the connection goes on waiting meanwhile.
                doubtful: {
                  entry: 'sayDoubt',
                  after: {
                    doubtTimeout: alone('the stream that the tabs share knows no proof of it; another user, perhaps'),
                  },
                },
                joined: {
                  invoke: {
                    src: 'relay',
                    id: 'relay',
                    onError: broken,
                  },
                  on: {
                    // The stream that it had is over: its connection opens another one when it is
                    // woken.
                    'leader.told': [
                      toldUnfit,
                      {
                        guard: withEvent('comesUp'),
                        target: 'waiting',
                        actions: [withEvent('recordLine'), 'emitReady'],
                      },
                      followUp,
                    ],
                    'frames.lost': { target: 'waiting' },
                    'stream.unwanted': { target: 'waiting', actions: 'recordUnwanted' },
                  },
                },
              },
            },

            leading: {
              id: 'leading',
              tags: 'leading',
              on: {
                'lock.lost': { target: 'electing', actions: 'forgetLeader' },
              },

              initial: 'keeping',
              states: {
                keeping: {
                  invoke: {
                    src: 'line',
                    id: 'line',
                    input: ({ context: { term, standing } }) => ({ term, standing }),
                    onError: broken,
                  },
                  on: {
                    'tab.wanted': {
                      guard: withEvent('isOutranked'),
                      target: 'handingOver',
                      actions: withEvent('recordHeir'),
                    },
                    'line.unfit': unfit,
                    'page.shown': { actions: [standing('visible'), 'tellLine'] },
                    'page.hidden': { actions: [standing('hidden'), 'tellLine'] },
                  },
                },
                handingOver: {
                  entry: 'sayCede',
                  after: {
                    handOverTimeout: { target: 'keeping', actions: 'emitReady' },
                  },
                },
              },
            },
          },
        },

        away: {
          tags: 'away',
          on: {
            'page.back': { target: 'present' },
          },
        },

        own: {
          id: 'own',
          tags: 'own',
          entry: 'emitReady',
          invoke: {
            src: 'ownLine',
            id: 'ownLine',
            onError: { target: '#apart' },
          },

          initial: 'settled',
          states: {
            settled: {
              after: {
                shareDelay: { target: 'due' },
              },
            },
            // A stream that lives is not given up for another try.
            due: {
              on: {
                'stream.unwanted': { target: '#present', actions: ['recordUnwanted', 'forgetLeader'] },
              },
            },
          },
        },
      },
    },
  },
})
