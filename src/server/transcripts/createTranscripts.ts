import type { Check, Defined } from '../../protocol/define/types'
import { checkFunction, checkMethods, checkNames } from '../check'
import { wallClock } from '../clock'
import { guardHooks } from '../hooks'
import type { LogEntry } from '../log/sessionLog'
import { isSessionId, SESSION_ID_RULE } from '../request/cursors'
import type { LoggedEvent, Transcript, TranscriptStore, Transcripts, TranscriptsOptions, TypedTranscripts } from './api'
import { catchUp, type Reading } from './catchUp'
import { heardLog } from './heardLog'
import { memoryStore } from './memoryStore'
import { Saver } from './saver'

/** Tries to save one transcript. Each that fails means that another process has saved it. */
const MAX_TRIES = 20

/**
 * The history of the sessions: a state for each, made of its events and kept in a store, together
 * with the cursor of the last event that is in it. Make one in each process, before the server, and
 * give the server its `log`.
 *
 * @throws TypeError naming the option, if one is invalid or unknown
 */
export function createTranscripts<State, P extends Defined>(options: TypedTranscripts<State, P>): Transcripts<State>
export function createTranscripts<State, Event extends object = LoggedEvent>(
  options: TranscriptsOptions<State, Event>,
): Transcripts<State>
export function createTranscripts<State>(options: AnyOptions<State>): Transcripts<State> {
  const { log, store, initial, clock, onError, ...own } = resolve(options)
  const inTurn = createTurns()
  const reading: Reading<State> = { log, breakOff: own.breakOff, apply: applier(own, onError) }

  async function bringUpToDate(sessionId: string): Promise<Transcript<State>> {
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const saved = await loadFrom<State>(store, sessionId)
      const before = saved ?? { state: initial, cursor: { lastSeq: 0, epoch: '' } }
      const now = await catchUp(sessionId, before, reading)
      if (now === before || (await store.save(sessionId, now, saved?.cursor))) return now
    }
    throw new Error(`transcripts: session ${sessionId} was saved by others ${MAX_TRIES} times in a row`)
  }
  const saver = new Saver({ save: (sessionId) => inTurn(sessionId, () => bringUpToDate(sessionId)), clock, onError })

  return {
    log: heardLog(log, (sessionId) => saver.note(sessionId)),
    async read(sessionId) {
      if (!isSessionId(sessionId)) throw new TypeError(`read: the session id ${SESSION_ID_RULE}`)
      return inTurn(sessionId, () => bringUpToDate(sessionId))
    },
    close: () => saver.close(),
  }
}

type AnyOptions<State> = TranscriptsOptions<State, never> & { readonly protocol?: { readonly check?: Check } }

function resolve<State>(options: AnyOptions<State>) {
  checkNames('createTranscripts', options, NAMES)
  const { log, initial, reduce, breakOff = (state: State) => state, store = memoryStore() } = options
  const { protocol, clock = wallClock } = options
  checkMethods('log', log, ['append', 'read', 'head', 'subscribe'])
  checkFunction('reduce', reduce)
  checkFunction('breakOff', breakOff)
  checkMethods('store', store, ['load', 'save'])
  checkMethods('clock', clock, ['setTimeout', 'clearTimeout'])
  if (options.onError !== undefined) checkFunction('onError', options.onError)
  const { onError } = guardHooks(options)
  return { log, initial, reduce, breakOff, store, check: protocol?.check, clock, onError }
}

const NAMES = ['log', 'initial', 'reduce', 'breakOff', 'store', 'protocol', 'onError', 'clock']

interface Rules<State> {
  reduce(state: State, event: never): State
  readonly check: Check | undefined
}

/** What does not fit, and what `reduce` throws at, changes nothing: as on the page. */
function applier<State>({ reduce, check }: Rules<State>, onError: (error: unknown) => void) {
  return (state: State, { event, sessionId, seq, epoch }: LogEntry): State => {
    const message = { ...event, sessionId, seq, epoch }
    try {
      const read = check ? check('down', message, fail) : message
      return reduce(state, read as never)
    } catch (cause) {
      const what = `event ${seq} ('${event.type}') of session ${sessionId}`
      onError(new Error(`transcripts: ${what} is left out (${String(cause)})`, { cause }))
      return state
    }
  }
}

const fail = (error: unknown): never => {
  throw error
}

async function loadFrom<State>(store: TranscriptStore, sessionId: string): Promise<Transcript<State> | undefined> {
  const saved = (await store.load(sessionId)) as Transcript<State> | undefined
  const { lastSeq, epoch } = saved?.cursor ?? { lastSeq: 0, epoch: '' }
  if ((saved && !saved.cursor) || !Number.isSafeInteger(lastSeq) || typeof epoch !== 'string')
    throw new TypeError(
      `transcripts: the store has no cursor { lastSeq: number, epoch: string } for session ${sessionId}`,
    )
  return saved
}

/** Work of one session is done one after the other. */
function createTurns() {
  const last = new Map<string, Promise<unknown>>()
  return <Result>(sessionId: string, work: () => Promise<Result>): Promise<Result> => {
    const turn = (last.get(sessionId) ?? Promise.resolve()).then(work, work)
    last.set(sessionId, turn)
    const forget = () => void (last.get(sessionId) === turn && last.delete(sessionId))
    turn.then(forget, forget)
    return turn
  }
}
