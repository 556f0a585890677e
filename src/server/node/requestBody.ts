import type { IncomingMessage } from 'node:http'
import { Refusal } from '../errors'

interface Parsed {
  /** The text or the bytes, as some parsers keep them. */
  readonly rawBody?: unknown
  readonly body?: unknown
}

/**
 * The body, or what a parser in front has made of it: then `headers` are those of the body as it is
 * now. A parser that kept nothing leaves an empty body; the server half says so.
 *
 * @throws Refusal 400 if what was parsed cannot be written as JSON
 */
export function bodyOf(incoming: IncomingMessage & Parsed, headers: Headers): BodyInit {
  const { rawBody, body } = incoming
  // Parsers of Express 4 set `body` to `{}` where they have not read anything.
  const parsed = incoming.readableDidRead ? (rawBody ?? body) : undefined
  if (parsed === undefined) return streamOf(incoming)
  const bytes = bytesOf(parsed)
  headers.delete('Transfer-Encoding')
  headers.delete('Content-Encoding')
  headers.set('Content-Length', String(bytes.byteLength))
  return bytes
}

function bytesOf(parsed: unknown): Uint8Array<ArrayBuffer> {
  if (parsed instanceof Uint8Array) return Uint8Array.from(parsed)
  return new TextEncoder().encode(typeof parsed === 'string' ? parsed : toJson(parsed))
}

function toJson(parsed: unknown): string {
  try {
    return JSON.stringify(parsed)
  } catch {
    throw new Refusal(400, 'too-deep')
  }
}

/**
 * Reads when it is read. A body that is cancelled stays where it is: its answer is still to be
 * written.
 */
function streamOf(incoming: IncomingMessage): ReadableStream<Uint8Array> {
  const source = new BodySource(incoming)
  return new ReadableStream(source, { highWaterMark: 0 })
}

class BodySource implements UnderlyingDefaultSource<Uint8Array> {
  readonly #incoming: IncomingMessage
  #stop = () => {}

  constructor(incoming: IncomingMessage) {
    this.#incoming = incoming
  }

  start(controller: ReadableStreamDefaultController<Uint8Array>) {
    const incoming = this.#incoming
    if (incoming.readableEnded) return controller.close()
    const end = () => {
      this.#stop()
      controller.close()
    }
    const fail = () => {
      this.#stop()
      controller.error(new Error('the client went away in the middle of the body'))
    }
    if (incoming.destroyed) return fail()
    const take = (part: Uint8Array) => {
      incoming.pause()
      controller.enqueue(part)
    }
    this.#stop = () => {
      incoming.off('data', take).off('end', end).off('close', fail).pause()
    }
    incoming.on('data', take).once('end', end).once('close', fail).pause()
  }

  pull() {
    this.#incoming.resume()
  }

  cancel() {
    this.#stop()
  }
}
