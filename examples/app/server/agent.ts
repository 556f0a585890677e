import { setTimeout as delay } from 'node:timers/promises'
import type { Upload } from '../shared/protocol'
import type { Transcript } from '../shared/transcript'

export interface Asked {
  readonly prompt: string
  /** With the path of each on this machine. */
  readonly files: readonly (Upload & { readonly path: string })[]
  /** What was said before. */
  readonly before: Transcript
}

/** Between two words, ms. */
const PAUSE = 40

/**
 * The answer, in pieces. Put your model here: make its messages of `before`, `prompt` and `files`,
 * and yield its text as it comes. `signal` is aborted by a stop; what is thrown ends the answer as
 * failed, and nothing of it but that reaches the page.
 */
export async function* answer({ prompt, files, before }: Asked, signal: AbortSignal): AsyncGenerator<string> {
  for (const word of wordsOf(prompt, files, before)) {
    await delay(PAUSE, undefined, { signal })
    yield word
  }
}

function wordsOf(prompt: string, files: Asked['files'], before: Transcript): readonly string[] {
  const [, count] = /^count to (\d{1,4})$/i.exec(prompt.trim()) ?? []
  if (count) return Array.from({ length: Number(count) }, (_, index) => `${index + 1} `)
  const seen = files.map(({ name, type, size }) => ` I have got ${name} (${type}, ${size} bytes).`).join('')
  const questions = before.filter(({ from }) => from === 'user').length + 1
  const text =
    `This is a simulated answer to “${prompt}”, your question number ${questions}.${seen} ` +
    'Ask me to “count to 100”, and cut the network while I do: nothing will be lost, and nothing will come twice.'
  return text.split(/(?<= )/)
}
