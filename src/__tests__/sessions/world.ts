import { type Connection, type ConnectionError, type ConnectionOptions, createConnection } from 'holdline'
import { type Behaviour, createHarness, type HarnessOptions } from 'holdline/testing'
import type { LineStatus } from '../../sessions/lineStatus'
import type { OwnMessage } from '../../sessions/ownMessages'
import type { PageTime } from '../../sessions/page'
import { Sessions } from '../../sessions/sessions'
import type { SessionOptions, SessionView, StatePlace } from '../../sessions/types'

export interface Token {
  readonly type: string
  readonly text: string
}

/** The transcript is what was said, one letter an event. */
export const reduce = (said: string, { text }: Token) => said + text
export const TRANSCRIPT = { initial: '', reduce } satisfies SessionOptions<string, Token>

/** As a banner would show it. */
export function lineText(line: LineStatus): string {
  if (line.status === 'retrying') return `retrying ${line.retryIn / 1_000}`
  return line.status === 'stopped' ? `stopped ${line.error.code}` : line.status
}

/** As a transcript would show it. */
export function ownText({ message, status, error, retryIn }: OwnMessage<object>): string {
  const why = error?.reason === undefined ? '' : `: ${error.reason}`
  const { prompt } = message as { readonly prompt?: unknown }
  return `${prompt} ${status}${why}${retryIn === null ? '' : ` in ${retryIn / 1_000}`}`
}

/** So many prompts are refused. */
export function refusesAsBusy(times: number): Behaviour {
  let left = times
  return {
    post(post, next) {
      if (post.endpoint === 'send' && left-- > 0) post.answers(409, { error: 'busy' })
      else next()
    },
  }
}

export interface Loading {
  readonly sessionId: string
  answers(state: string, cursor: number | StatePlace): void
  fails(cause: unknown): void
}

/** A `load` in the test's hands. */
export function createLoads() {
  const all: Loading[] = []
  const load = (sessionId: string) =>
    new Promise<{ state: string; cursor: number | StatePlace }>((resolve, reject) => {
      all.push({ sessionId, answers: (state, cursor) => resolve({ state, cursor }), fails: reject })
    })
  return {
    load,
    all,
    get last(): Loading {
      const last = all.at(-1)
      if (!last) throw new Error('nothing was loaded')
      return last
    },
  }
}

export const FRAME = 16

export type SessionWorld = ReturnType<typeof createSessionWorld>

/** A store of sessions on a harness, in its time. */
export function createSessionWorld(
  options: Omit<HarnessOptions, 'create'> & {
    readonly connection?: (storage: Parameters<NonNullable<HarnessOptions['create']>>[1]) => Partial<ConnectionOptions>
  } = {},
) {
  const errors: ConnectionError[] = []
  let sessions!: Sessions
  const harness = createHarness({
    ...options,
    create(environment, storage) {
      const connection: Connection = createConnection({ ...environment, ...options.connection?.(storage) })
      connection.on('error', ({ error }) => errors.push(error))
      // What belongs to the page of before runs on its old clock, as its connection does.
      const { clock } = environment
      const time: PageTime = {
        frame: (run) => void clock.setTimeout(run, FRAME),
        later(run, ms) {
          const timer = Number.isFinite(ms) ? clock.setTimeout(run, ms) : null
          return () => clock.clearTimeout(timer)
        },
      }
      sessions = new Sessions(connection, time)
      return connection
    },
  })
  return {
    harness,
    errors,
    codes: () => errors.map(({ code }) => code),
    get sessions() {
      return sessions
    },
    /** A user of the session, as a component is. */
    use(id = 's1', own: Partial<SessionOptions<string, Token>> = {}) {
      const views: SessionView<string>[] = []
      const store = sessions
      const view = () => store.view<string>(id) as SessionView<string>
      const leave = store.use(id, { ...TRANSCRIPT, ...own }, () => views.push(view()))
      return {
        /** Every view that was told. */
        views,
        leave,
        get view() {
          return view()
        },
        get shows() {
          const { state, status } = view()
          return [state, status] as const
        },
      }
    },
    say(text: string, id = 's1') {
      for (const letter of text) harness.server.publish(id, { type: 'token', text: letter })
    },
    frame: () => harness.passes(FRAME),
  }
}
