import type { Clock } from '../../environment'
import type { Feature, JsonObject } from '../../protocol'
import type { TestPost, TestStream } from './network'

/**
 * What a server does, as a chain: each behaviour deals with what it is about, and leaves the rest
 * to `next`. One that does neither leaves it open; the test can take it from there.
 */
export interface Behaviour {
  /**
   * A stream was asked for. `next` may be given another one to pass on, e.g. one on which nothing
   * arrives.
   */
  stream?(stream: TestStream, next: (stream?: TestStream) => void, server: TestServer): void
  /**
   * Something was posted. `next` may be given another post to pass on, e.g. one whose answer is
   * lost.
   */
  post?(post: TestPost, next: (post?: TestPost) => void, server: TestServer): void
  /** An event is about to be sent. */
  event?(event: JsonObject, stream: TestStream, next: () => void, server: TestServer): void
}

/** A command that the server has applied. */
export interface AppliedCommand {
  /** The message's id, where one was sent. */
  readonly id: string | null
  readonly endpoint: string
  readonly message: JsonObject
}

/** A server in the test's hands. By itself it does everything right: see docs/protocol.md. */
export interface TestServer {
  readonly clock: Clock
  readonly features: readonly Feature[]
  /** In the order in which they were applied. */
  readonly commands: readonly AppliedCommand[]
  /**
   * Numbers an event, keeps it for replays and sends it to the streams that are attached to the
   * session.
   */
  publish(sessionId: string, event: JsonObject): void
  /** Sends a frame on every live stream. */
  sends(frame: object): void
  /** Everything is forgotten and every stream is cut. */
  restarts(): void
  /** From now on, before what it did so far. */
  behaves(...behaviours: readonly Behaviour[]): void
}

interface Subjects {
  readonly stream: TestStream
  readonly post: TestPost
}
type Handle<Subject> = (subject: Subject, next: (other?: Subject) => void, server: TestServer) => void

/** The behaviours of a server, each in its turn. */
export class BehaviourChain {
  readonly #server: TestServer
  #behaviours: readonly Behaviour[]

  constructor(server: TestServer, behaviours: readonly Behaviour[]) {
    this.#server = server
    this.#behaviours = behaviours
  }

  prepend(behaviours: readonly Behaviour[]) {
    this.#behaviours = [...behaviours, ...this.#behaviours]
  }

  /** `end` is given what the last behaviour has passed on. */
  pass<Kind extends keyof Subjects>(kind: Kind, subject: Subjects[Kind], end: (subject: Subjects[Kind]) => void) {
    const behaviours = this.#behaviours
    const step = (index: number, current: Subjects[Kind]): void => {
      const behaviour = behaviours[index]
      if (!behaviour) {
        end(current)
        return
      }
      const next = (other = current) => step(index + 1, other)
      const handle = behaviour[kind] as Handle<Subjects[Kind]> | undefined
      if (handle) handle.call(behaviour, current, next, this.#server)
      else next()
    }
    step(0, subject)
  }

  passEvent(event: JsonObject, stream: TestStream, end: () => void) {
    const step = ([behaviour, ...others]: readonly Behaviour[]): void => {
      if (!behaviour) end()
      else if (behaviour.event) behaviour.event(event, stream, () => step(others), this.#server)
      else step(others)
    }
    step(this.#behaviours)
  }
}
