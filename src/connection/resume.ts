import { watchSilence } from '../adapters/silence'
import { ConnectionError } from '../errors'
import type { ResumeEvent, ResumeInput } from '../machine/types'
import { isObject, parseVerdicts } from '../protocol'
import type { StreamParts } from './stream'

type Tell = (event: ResumeEvent) => void

/**
 * `waiting`: for the end of a suspend POST. `watching`: it is answered, and its replay comes; there
 * is nothing to abort any more, and an abort makes an Error with its stack.
 */
type State =
  | { readonly name: 'waiting' | 'over'; readonly end?: undefined }
  | { readonly name: 'posted' | 'watching'; readonly end: () => void }

/** Posts one resume, and watches over the replay. Returns the function that ends both. */
export function resume(parts: StreamParts, tell: Tell, { resumeId, cursors }: ResumeInput): () => void {
  const { settings, carrier, inbox, farewell, line } = parts
  const { clock, timeouts } = settings
  let state: State = { name: 'waiting' }
  const isOver = () => state.name === 'over'
  farewell.address(line.context().connectionId, resumeId)
  const fail = (error: ConnectionError) => tell({ type: 'resume.failed', error })
  const succeed = (json: unknown) => {
    if (isOver()) return
    if (json === undefined || (isObject(json) && json.ok === false)) {
      const why = `POST reconnect: ${json ? 'ok: false' : 'no JSON'}`
      return fail(new ConnectionError('bad-response', why, { cause: json }))
    }
    inbox.takeVerdicts(resumeId, parseVerdicts(json))
    // A listener may have ended it.
    if (isOver()) return
    const onSilent = () =>
      fail(new ConnectionError('timeout', `the replay stalled for ${timeouts.resume} ms (timeouts.resume)`))
    state = { name: 'watching', end: watchSilence(clock, timeouts.resume, inbox.events, onSilent) }
    tell({ type: 'resume.succeeded', leftOvers: inbox.leftOvers(), isByServer: inbox.hasHole() })
  }
  const post = () => {
    if (isOver()) return
    const abort = new AbortController()
    state = { name: 'posted', end: () => abort.abort() }
    const body = JSON.stringify({ type: 'reconnect', resumeId, sessions: inbox.beginResume(resumeId, cursors) })
    carrier.post('reconnect', body, abort).then(succeed).catch(fail)
  }
  const isAsleep = line.context().farewell === 'said'
  const before = inbox.signs()
  const isMarked = line.context().features.includes('replay-marker')
  // A stream that was suspended has to show that it lives: by a frame or, where the replay has no
  // marker, by the answer to the POST.
  const expectSign = () => {
    if (inbox.signs() !== before || !(isMarked || state.name === 'waiting')) return
    const why = `nothing came on the suspended stream for ${timeouts.probe} ms (timeouts.probe)`
    fail(new ConnectionError('probe-timeout', why))
  }
  const timer = isAsleep && clock.setTimeout(expectSign, timeouts.probe)
  // A server that detaches on a suspend may know no `resumeId`: one that it has not taken yet would
  // undo the resume.
  const suspendPost = isAsleep && farewell.last?.underWay
  if (suspendPost) suspendPost.then(post, post)
  else post()
  return () => {
    state.end?.()
    state = { name: 'over' }
    clock.clearTimeout(timer)
  }
}
