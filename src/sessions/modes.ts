import type { SessionViewStatus } from './types'

// All that can become of the state of a session, in one place.

/**
 * | mode | the state is | events |
 * | --- | --- | --- |
 * | `loading` | asked for, for the first time | wait for it |
 * | `replaying` | made of the events that the server replays | are applied |
 * | `live` | complete | are applied |
 * | `reloading` | that of before a reset, and asked for again | wait for it |
 * | `rewinding` | made again of the events that the server still has | are applied |
 * | `partial` | without events that nobody has any more | are applied |
 * | `gone`, `forbidden` | that of before | are ignored |
 */
export type Mode = 'loading' | 'replaying' | 'live' | 'reloading' | 'rewinding' | 'partial' | 'gone' | 'forbidden'

/**
 * `placed`: a loaded state is in place. `caughtUp`: the replay is through. `cut`: the state is in
 * place, and events behind it are lost. `reload`, `rewind`: history was lost, and there is a
 * `load`, or none that would help.
 */
export type Fact = 'placed' | 'caughtUp' | 'cut' | 'reload' | 'rewind' | 'gone' | 'forbidden'

const ENDS = { gone: 'gone', forbidden: 'forbidden' } as const
const LOST = { reload: 'reloading', rewind: 'rewinding', ...ENDS } as const
const NEXT: Readonly<Record<Mode, Partial<Record<Fact, Mode>>>> = {
  // A reset meanwhile loads again, and nothing was shown yet.
  loading: { placed: 'live', cut: 'partial', ...ENDS },
  replaying: { caughtUp: 'live', ...LOST },
  live: LOST,
  reloading: { placed: 'live', cut: 'partial', ...ENDS },
  rewinding: { placed: 'live', caughtUp: 'live', cut: 'partial', ...LOST },
  partial: LOST,
  gone: {},
  forbidden: {},
}

export const beginOf = ({ load, cursor }: { readonly load?: unknown; readonly cursor?: unknown }): Mode =>
  cursor !== undefined ? 'live' : load ? 'loading' : 'replaying'

/** A fact that the mode does not know changes nothing. */
export const nextMode = (mode: Mode, fact: Fact): Mode => NEXT[mode][fact] ?? mode

const STATUS: Readonly<Record<Mode, SessionViewStatus>> = {
  loading: 'loading',
  replaying: 'loading',
  live: 'live',
  reloading: 'reset',
  rewinding: 'reset',
  partial: 'reset',
  gone: 'gone',
  forbidden: 'forbidden',
}

export const statusOf = (mode: Mode): SessionViewStatus => STATUS[mode]
export const isLoading = (mode: Mode): boolean => mode === 'loading' || mode === 'reloading'
export const isReplaying = (mode: Mode): boolean => mode === 'replaying' || mode === 'rewinding'
export const isOver = (mode: Mode): boolean => mode === 'gone' || mode === 'forbidden'
