export interface Tampering {
  isDropped(frame: string): boolean
  change(frame: string): string
  /** Once, however the stream ends. */
  onEnd(): void
}

/** The stream of the server half, frame by frame. */
export class TamperedStream {
  readonly readable: ReadableStream<Uint8Array>
  readonly #tampering: Tampering
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #decoder = new TextDecoder()
  readonly #encoder = new TextEncoder()
  #rest = ''
  #sink: ReadableStreamDefaultController<Uint8Array> | undefined
  #hasEnded = false

  constructor(stream: ReadableStream<Uint8Array>, tampering: Tampering) {
    this.#tampering = tampering
    this.#reader = stream.getReader()
    this.readable = new ReadableStream({
      start: (controller) => {
        this.#sink = controller
      },
      pull: (controller) => this.#pull(controller),
      cancel: (reason) => {
        this.#end()
        return this.#reader.cancel(reason)
      },
    })
  }

  /** Text that the server half has not said. */
  says(text: string) {
    if (!this.#hasEnded) this.#sink?.enqueue(this.#encoder.encode(text))
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>) {
    try {
      for (let written = ''; !written; ) {
        const { done, value } = await this.#reader.read()
        if (done) {
          this.#end()
          return controller.close()
        }
        written = this.#framesIn(value)
          .map((frame) => `${this.#tampering.change(frame)}\n\n`)
          .join('')
        if (written) controller.enqueue(this.#encoder.encode(written))
      }
    } catch (error) {
      this.#end()
      controller.error(error)
    }
  }

  #framesIn(bytes: Uint8Array): readonly string[] {
    const frames = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split('\n\n')
    this.#rest = frames.pop() ?? ''
    return frames.filter((frame) => !this.#tampering.isDropped(frame))
  }

  #end() {
    if (!this.#hasEnded) this.#tampering.onEnd()
    this.#hasEnded = true
  }
}
