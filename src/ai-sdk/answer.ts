import type { UIMessageChunk } from 'ai'
import { Reader } from '../threads/reader'
import type { ChatRun } from './run'

/** Reads one run as a stream of chunks. */
export class Answer extends Reader<ChatRun> {
  readonly stream: ReadableStream<UIMessageChunk>
  #woken = () => {}

  constructor(key?: string) {
    super(key)
    this.stream = new ReadableStream(
      { pull: (controller) => this.#pull(controller), cancel: () => this.end() },
      // Nothing is taken before it is read: an error would throw away what waits.
      { highWaterMark: 0 },
    )
  }

  /** The stream, as soon as it is known that there is a run; else null. */
  async found(): Promise<ReadableStream<UIMessageChunk> | null> {
    while (!this.name && this.state !== 'over') await this.#news()
    if (this.error) throw this.error
    return this.name ? this.stream : null
  }

  wake() {
    this.#woken()
  }

  async #pull(controller: ReadableStreamDefaultController<UIMessageChunk>) {
    for (;;) {
      const { run } = this
      const chunk = this.next()
      if (chunk) return controller.enqueue(chunk)
      if (run && run.state !== 'running') this.end(run.error)
      if (this.error) return controller.error(this.error)
      // [spec] one that was cancelled is closed already: this throws then, and what `pull` throws
      // after the end is told to no one.
      if (this.state === 'over') return controller.close()
      await this.#news()
    }
  }

  #news(): Promise<void> {
    return new Promise((resolve) => {
      this.#woken = resolve
    })
  }
}
