import { withEvent } from '../machine/outboxMachine'
import { tabSetup } from './tabSetup'
import { alone, broken, follow, followUp, standing, toldUnfit, unfit } from './transitions'

/**
 * What one tab is to the others that share a line with it. docs/internals/tabs.md has the diagram
 * and says what each state promises.
 */
export const tabMachine = tabSetup.createMachine({
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
              invoke: { src: 'leaderWatch', id: 'leaderWatch', onError: broken },
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
                    'join.proved': [
                      { guard: 'isWanted', target: 'joined' },
                      { target: 'waiting', actions: 'emitReady' },
                    ],
                    'join.failed': { target: 'waiting' },
                    'stream.unwanted': { target: 'waiting', actions: 'recordUnwanted' },
                  },

                  initial: 'proving',
                  states: {
                    proving: {
                      on: {
                        'join.refused': { target: 'doubtful' },
                      },
                      after: {
                        joinTimeout: { target: 'doubtful' },
                      },
                    },
                    // Whether or not the connection goes on waiting. A proof that is late is one
                    // all the same.
                    doubtful: {
                      entry: 'sayDoubt',
                      on: {
                        'stream.unwanted': { actions: 'recordUnwanted' },
                      },
                      after: {
                        doubtTimeout: alone(
                          'the stream that the tabs share knows no proof of it; another user, perhaps',
                        ),
                      },
                    },
                  },
                },
                joined: {
                  invoke: { src: 'relay', id: 'relay', onError: broken },
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
