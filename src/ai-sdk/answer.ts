import type { UIMessageChunk } from 'ai'
import type { Run } from './run'

type Step =
  | { readonly name: 'chunk'; readonly chunk: UIMessageChunk }
  | { readonly name: 'wait' }
  | { readonly name: 'end'; readonly error?: unknown }

/** The stream of one run that one chat reads: nothing of it, until the run is known, then each chunk once. */
export class Answer {
  readonly stream: ReadableStream<UIMessageChunk>
  /** The name of the run, where that is all that is known of it. */
  expected: string | undefined
  #place: { readonly run: Run; at: number } | undefined
  #end: (Step & { readonly name: 'end' }) | undefined
  #wake = () => {}
  readonly #onEnd: () => void

  /** @param key the id of the message that asks for the run; without one, it is read from its begin */
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

  /** The run that it reads; `undefined` as long as it waits for one. */
  get run(): Run | undefined {
    return this.#place?.run
  }

  get isOver(): boolean {
    return this.#end !== undefined
  }

  read(run: Run, at: number) {
    this.#place ??= { run, at }
    this.wake()
  }

  /** At once, whatever has not been read. */
  end(error?: unknown) {
    if (this.#end) return
    this.#end = { name: 'end', error }
    this.#onEnd()
    this.wake()
  }

  /** There may be something to read. */
  wake() {
    this.#wake()
  }

  #next(): Step {
    if (this.#end) return this.#end
    if (!this.#place) return { name: 'wait' }
    const { run, at } = this.#place
    const chunk = run.chunks[at]
    if (chunk) {
      this.#place.at++
      return { name: 'chunk', chunk }
    }
    if (run.state !== 'running') this.end(run.error)
    return this.#end ?? { name: 'wait' }
  }

  async #pull(controller: ReadableStreamDefaultController<UIMessageChunk>) {
    for (;;) {
      const step = this.#next()
      if (step.name === 'chunk') return controller.enqueue(step.chunk)
      if (step.name === 'wait') await new Promise<void>((resolve) => (this.#wake = resolve))
      else if (step.error) return controller.error(step.error)
      else {
        // Cancelled by its reader, it is closed already.
        try {
          controller.close()
        } catch {}
        return
      }
    }
  }
}
