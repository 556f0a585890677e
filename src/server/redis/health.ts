import { type Refusal, unavailable } from '../errors'

/**
 * Errors of Redis about one key: a right that is missing, a key of another kind, numbers that are
 * none. All else is about Redis as a whole.
 */
const isAboutKey = (error: unknown) => /NOPERM.* keys?\b|WRONGTYPE|BADKEY/.test(messageOf(error))
const isAboutWriting = (error: unknown) => /MISCONF|OOM|NOREPLICAS|READONLY/.test(messageOf(error))
const SILENT = 'Redis does not do what it is asked, so clients are told to come back later'
const LONE = "this Redis is a server of a Redis Cluster, and can only be used as 'client: new Cluster([…])' of ioredis"
/** Sessions that are told of by name. One rule that is wrong makes thousands of them unreadable. */
const MAX_TOLD = 10

/** What was told of, and is not over. */
class Told {
  /** Sessions that cannot be read. */
  readonly unreadable = new Set<string>()
  /** Servers that do not do what they are asked, do not write, or refuse subscriptions. */
  readonly silent = new Set<string>()
  readonly readOnly = new Set<string>()
  readonly deaf = new Set<string>()
  /** Servers of a cluster that are used as if they were alone. */
  readonly lone = new Set<string>()
}

/**
 * Failures of Redis for this process: each kind is told once of each server, in one sentence, until
 * it is over. The parts of the log share what was told; each says at which `address` it is now.
 */
export function createHealths(onError: (error: Error) => void) {
  const told = new Told()
  return (address: () => string) => new Health({ onError, address, told })
}

interface HealthOptions {
  onError(error: Error): void
  address(): string
  readonly told: Told
}

export class Health {
  readonly #options: HealthOptions
  /** Where it was that a subscription was refused. */
  #refusedAt = ''

  constructor(options: HealthOptions) {
    this.#options = options
  }

  tell(what: string, cause: unknown): void {
    const { address, onError } = this.#options
    const where = address() && `${address()}: `
    onError(new Error(`redisLog: ${what} (${where}${messageOf(cause)})`, { cause }))
  }

  refusesWrites(cause: unknown): void {
    const what = 'Redis refuses to write, so sessions are read, but events and commands are not taken'
    this.#tellOnce('readOnly', what, cause)
  }

  writes(): void {
    const { address, told } = this.#options
    told.readOnly.delete(address())
  }

  refusesSubscription(cause: unknown): void {
    this.#refusedAt = this.#options.address()
    const what = 'Redis refuses a subscription, so what happens elsewhere is heard late; it is asked every 10 s'
    this.#tellOnce('deaf', what, cause)
  }

  /** All that was refused is subscribed. */
  hears(): void {
    this.#options.told.deaf.delete(this.#refusedAt)
  }

  /** The error to reject with: the caller is to come back, and need not report it. */
  fails(cause: unknown): Refusal {
    if (isAboutWriting(cause)) this.refusesWrites(cause)
    else if (/^MOVED\b/.test(messageOf(cause))) this.#tellOnce('lone', LONE, cause)
    else this.#tellOnce('silent', SILENT, cause)
    return Object.assign(unavailable(), { cause })
  }

  /** Rejects with what `fails` makes of it. */
  async orUnavailable<T>(asking: Promise<T>): Promise<T> {
    try {
      return await asking
    } catch (error) {
      throw this.fails(error)
    }
  }

  /** False if not only this session is concerned. */
  cannotRead(sessionId: string, cause: unknown): boolean {
    const { unreadable } = this.#options.told
    if (!isAboutKey(cause)) return false
    if (!unreadable.has(sessionId) && unreadable.size < MAX_TOLD) {
      unreadable.add(sessionId)
      this.tell(`session ${sessionId} cannot be read, and waits until it can`, cause)
    }
    return true
  }

  hasRead(sessionId: string): void {
    const { address, told } = this.#options
    told.silent.delete(address())
    told.unreadable.delete(sessionId)
  }

  #tellOnce(kind: 'silent' | 'readOnly' | 'deaf' | 'lone', what: string, cause: unknown) {
    const { address, told } = this.#options
    if (!told[kind].has(address())) this.tell(what, cause)
    told[kind].add(address())
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
