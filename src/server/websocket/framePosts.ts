import { CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, isText, LANE_HEADER } from '../../protocol'
import { isCommand } from './frameOrder'
import { type FrameAnswer, toAnswer, type Upgrade } from './webSocketFrames'

export interface FramePostsOptions {
  readonly upgrade: Upgrade
  fetch(request: Request): Response | Promise<Response>
  onError(error: unknown): void
}

/** A frame that is to be posted. */
export interface Post {
  readonly id: string
  readonly endpoint: string
  readonly lane: string | undefined
  readonly body: string
  /** The headers of the last hello before the frame. */
  readonly headers: Headers
}

const INTERNAL: FrameAnswer = { status: 500, error: 'internal' }

/** The requests that one socket makes to `fetch`. */
export class FramePosts {
  /** The connectionId of the stream, once it is open. */
  connectionId = ''
  readonly #options: FramePostsOptions
  readonly #underWay = new Set<AbortController>()

  constructor(options: FramePostsOptions) {
    this.#options = options
  }

  /** The endpoint stands where the upgrade was. */
  async ask(endpoint: string, init: RequestInit): Promise<Response> {
    const { fetch, upgrade } = this.#options
    return fetch(new Request(new URL(endpoint, upgrade.url), init))
  }

  /** Never rejects. */
  async post({ id, endpoint, lane, body, headers: own }: Post): Promise<FrameAnswer> {
    const headers = new Headers(own)
    headers.set('Content-Type', 'application/json')
    // In characters, which are no more than its bytes.
    headers.set('Content-Length', String(body.length))
    if (isCommand(endpoint)) headers.set(IDEMPOTENCY_KEY_HEADER, id)
    if (isText(lane)) headers.set(LANE_HEADER, encodeURIComponent(lane))
    if (this.connectionId) headers.set(CONNECTION_ID_HEADER, this.connectionId)
    const abort = new AbortController()
    this.#underWay.add(abort)
    try {
      return await toAnswer(await this.ask(endpoint, { method: 'POST', headers, body, signal: abort.signal }))
    } catch (error) {
      if (!abort.signal.aborted) this.#options.onError(error)
      return INTERNAL
    } finally {
      this.#underWay.delete(abort)
    }
  }

  /** The socket has ended. */
  abort() {
    for (const post of this.#underWay) post.abort()
  }
}
