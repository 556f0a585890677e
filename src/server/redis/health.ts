import { type Refusal, unavailable } from '../errors'

/**
 * Errors of Redis about one key: a right that is missing, a key of another kind, numbers that are
 * none. All else is about Redis as a whole.
 */
const isAboutKey = (error: unknown) => /NOPERM.* keys?\b|WRONGTYPE|BADKEY/.test(messageOf(error))
const isAboutWriting = (error: unknown) => /MISCONF|OOM|NOREPLICAS|READONLY/.test(messageOf(error))
/** Sessions that are told of by name. One rule that is wrong makes thousands of them unreadable. */
const MAX_TOLD = 10

/**
 * Failures of Redis for this process: each kind is told once, in one sentence, until it is over.
 */
export function createHealth(onError: (error: Error) => void) {
  const unreadable = new Set<string>()
  let doesAnswer = true
  let doesWrite = true

  const tell = (what: string, cause: unknown) =>
    onError(new Error(`redisLog: ${what} (${messageOf(cause)})`, { cause }))

  function refusesWrites(cause: unknown) {
    if (doesWrite) tell('Redis refuses to write, so sessions are read, but events and commands are not taken', cause)
    doesWrite = false
  }

  /** The error to reject with: the caller is to come back, and need not report it. */
  function fails(cause: unknown): Refusal {
    if (isAboutWriting(cause)) refusesWrites(cause)
    else {
      if (doesAnswer) tell('Redis does not do what it is asked, so clients are told to come back later', cause)
      doesAnswer = false
    }
    return Object.assign(unavailable(), { cause })
  }

  return {
    tell,
    refusesWrites,
    writes() {
      doesWrite = true
    },

    fails,
    /** Rejects with what `fails` makes of it. */
    orUnavailable: <T>(asking: Promise<T>): Promise<T> =>
      asking.catch((error: unknown): never => {
        throw fails(error)
      }),

    /** False if not only this session is concerned. */
    cannotRead(sessionId: string, cause: unknown): boolean {
      if (!isAboutKey(cause)) return false
      if (!unreadable.has(sessionId) && unreadable.size < MAX_TOLD) {
        unreadable.add(sessionId)
        tell(`session ${sessionId} cannot be read, and waits until it can`, cause)
      }
      return true
    },
    hasRead(sessionId: string) {
      doesAnswer = true
      unreadable.delete(sessionId)
    },
  }
}

export type Health = ReturnType<typeof createHealth>

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
