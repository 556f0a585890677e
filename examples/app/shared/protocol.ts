import { defineProtocol, type InboundOf, type OutboundOf } from 'holdline/protocol'
import { z } from 'zod'

// The messages of this app. The page and the server import this file, so that what one of them
// sends is what the other one reads, by its types and at run time.

/** A file that was uploaded: messages name it, and do not carry it. */
const upload = z.object({ id: z.string(), name: z.string(), type: z.string(), size: z.number() })
export type Upload = z.infer<typeof upload>

export const chat = defineProtocol({
  up: {
    send: z
      .object({ sessionId: z.string(), prompt: z.string().max(20_000), files: z.array(upload).max(8) })
      .refine(({ prompt, files }) => prompt !== '' || files.length > 0),
    stop: z.object({ sessionId: z.string(), run: z.string() }),
  },
  down: {
    // `id` is that of the message, so the page knows its own prompt again.
    prompt: z.object({ id: z.string(), text: z.string(), files: z.array(upload) }),
    token: z.object({ text: z.string() }),
    title: z.object({ title: z.string() }),
  },
})

/** What the page hears: the events above, and those of runs. */
export type ChatEvent = InboundOf<typeof chat>
/** What it sends. */
export type Command = OutboundOf<typeof chat>

export interface SessionInfo {
  readonly id: string
  /** The begin of its first prompt; null before that. */
  readonly title: string | null
  /** ms since the epoch. */
  readonly created: number
}
