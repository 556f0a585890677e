import { watchSilence } from '../adapters/silence'
import { ConnectionError } from '../errors'
import type { ResumeInput } from '../machine/connectionMachine'
import type { ResumeEvent } from '../machine/types'
import { isObject, parseVerdicts } from '../protocol'
import type { StreamParts } from './stream'

/** One resume: its POST, and the watch over the replay. */
export class Resume {
  readonly #parts: StreamParts
  readonly #input: ResumeInput
  readonly #tell: (event: ResumeEvent) => void
  readonly #abort = new AbortController()
  #state: 'waiting' | 'posted' = 'waiting'
  #stopWatching: (() => void) | undefined
  #timer: unknown

  constructor(parts: StreamParts, input: ResumeInput, tell: (event: ResumeEvent) => void) {
    this.#parts = parts
    this.#input = input
    this.#tell = tell
    const { farewell, line } = parts
    farewell.resumeId = input.resumeId
    const isAsleep = line.context().farewell === 'said'
    if (isAsleep) this.#expectSign()
    // A server that detaches on a suspend may know no `resumeId`: one that it has not taken yet would undo the resume.
    if (isAsleep && farewell.over) farewell.over.then(this.#post, this.#post)
    else this.#post()
  }

  end() {
    this.#abort.abort()
    this.#stopWatching?.()
    this.#parts.settings.clock.clearTimeout(this.#timer)
  }

  /** A stream that was suspended has to show that it lives. */
  #expectSign() {
    const { settings, inbox, line } = this.#parts
    const ms = settings.timeouts.probe
    const before = inbox.signs()
    const isMarked = line.context().features.includes('replay-marker')
    this.#timer = settings.clock.setTimeout(() => {
      // Where the replay has no marker, the answer to the POST is the sign.
      if (inbox.signs() !== before || (!isMarked && this.#state === 'posted')) return
      this.#fail(
        new ConnectionError('probe-timeout', `nothing came on the suspended stream for ${ms} ms (timeouts.probe)`),
      )
    }, ms)
  }

  readonly #post = () => {
    if (this.#abort.signal.aborted) return
    this.#state = 'posted'
    const { carrier, inbox } = this.#parts
    const { resumeId, cursors } = this.#input
    const body = JSON.stringify({ type: 'reconnect', resumeId, sessions: inbox.beginResume(resumeId, cursors) })
    carrier
      .post('reconnect', body, this.#abort)
      .then((json) => this.#succeed(json))
      .catch((error) => this.#fail(error))
  }

  #succeed(json: unknown) {
    const { settings, inbox } = this.#parts
    const { signal } = this.#abort
    if (signal.aborted) return
    if (json === undefined || (isObject(json) && json.ok === false)) {
      const why = `POST reconnect: ${json ? 'ok: false' : 'no JSON'}`
      return this.#fail(new ConnectionError('bad-response', why, { cause: json }))
    }
    inbox.judge(this.#input.resumeId, parseVerdicts(json))
    if (signal.aborted) return
    const ms = settings.timeouts.resume
    this.#stopWatching = watchSilence(settings.clock, ms, inbox.events, () =>
      this.#fail(new ConnectionError('timeout', `the replay stalled for ${ms} ms (timeouts.resume)`)),
    )
    this.#tell({ type: 'resume.succeeded', leftOvers: inbox.leftOvers(), isByServer: inbox.hasHole() })
  }

  #fail(error: ConnectionError) {
    this.#tell({ type: 'resume.failed', error })
  }
}
