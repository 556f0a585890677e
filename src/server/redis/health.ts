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
 * Failures of Redis for this process: each kind is told once of each server, in one sentence, until
 * it is over. What is returned is for the parts of the log, each of which says at which `address`
 * it is now.
 */
export function createHealths(onError: (error: Error) => void) {
  const unreadable = new Set<string>()
  const silent = new Set<string>()
  const readOnly = new Set<string>()
  const deaf = new Set<string>()
  return (address: () => string): Health => createHealth({ onError, address, unreadable, silent, readOnly, deaf })
}

interface HealthOptions {
  onError(error: Error): void
  address(): string
  /** Sessions that were told of. */
  readonly unreadable: Set<string>
  /** Servers that do not do what they are asked, or not where it writes. */
  readonly silent: Set<string>
  readonly readOnly: Set<string>
  /** Servers that refuse subscriptions. */
  readonly deaf: Set<string>
}

function createHealth({ onError, address, unreadable, silent, readOnly, deaf }: HealthOptions) {
  /** Where it was that a subscription was refused. */
  let refusedAt = ''

  function tell(what: string, cause: unknown) {
    const where = address() && `${address()}: `
    onError(new Error(`redisLog: ${what} (${where}${messageOf(cause)})`, { cause }))
  }

  function refusesWrites(cause: unknown) {
    if (!readOnly.has(address()))
      tell('Redis refuses to write, so sessions are read, but events and commands are not taken', cause)
    readOnly.add(address())
  }

  /** The error to reject with: the caller is to come back, and need not report it. */
  function fails(cause: unknown): Refusal {
    if (isAboutWriting(cause)) refusesWrites(cause)
    else {
      if (!silent.has(address()))
        tell('Redis does not do what it is asked, so clients are told to come back later', cause)
      silent.add(address())
    }
    return Object.assign(unavailable(), { cause })
  }

  return {
    tell,
    refusesWrites,
    writes() {
      readOnly.delete(address())
    },

    refusesSubscription(cause: unknown) {
      refusedAt = address()
      if (!deaf.has(refusedAt))
        tell('Redis refuses a subscription, so what happens elsewhere is heard late; it is asked every 10 s', cause)
      deaf.add(refusedAt)
    },
    /** All that was refused is subscribed. */
    hears() {
      deaf.delete(refusedAt)
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
      silent.delete(address())
      unreadable.delete(sessionId)
    },
  }
}

export type Health = ReturnType<typeof createHealth>

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
