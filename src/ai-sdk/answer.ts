import type { UIMessageChunk } from 'ai'
import type { Run } from './run'

/**
 * The stream of one run that one chat reads: nothing of it, until the run is known, then each chunk
 * once.
 */
export class Answer {
  readonly stream: ReadableStream<UIMessageChunk>
  /** The name of the run, where that is all that is known of it. */
  expected: string | undefined
  /** The run that it reads; `undefined` as long as it waits for one. */
  run: Run | undefined
  /** There may be something to read. */
  wake = () => {}
  #at = 0
  #end: { readonly error: unknown } | undefined
  readonly #onEnd: () => void

  /**
   * @param key the id of the message that asks for the run; without one, it is read from its begin
   */
  constructor(
    readonly key: string | undefined,
    onEnd: () => void,
  ) {
    this.#onEnd = onEnd
    this.stream = new ReadableStream(
      { pull: (controller) => this.#pull(controller), cancel: () => this.end() },
      // Nothing is taken before it is read: an error would throw away what waits.
      { highWaterMark: 0 },
    )
  }

  get isOver(): boolean {
    return this.#end !== undefined
  }

  read(run: Run, at: number) {
    if (!this.run) {
      this.run = run
      this.#at = at
    }
    this.wake()
  }

  /** At once, whatever has not been read. */
  end(error?: unknown) {
    if (this.#end) return
    this.#end = { error }
    this.#onEnd()
    this.wake()
  }

  async #pull(controller: ReadableStreamDefaultController<UIMessageChunk>) {
    for (;;) {
      const { run } = this
      const chunk = this.#end ? undefined : run?.chunks[this.#at]
      if (chunk) {
        this.#at++
        return controller.enqueue(chunk)
      }
      if (run && run.state !== 'running') this.end(run.error)
      if (this.#end?.error) return controller.error(this.#end.error)
      // [spec] one that was cancelled is closed already: this throws then, and what `pull` throws
      // after the end is nobody's.
      if (this.#end) return controller.close()
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    }
  }
}
