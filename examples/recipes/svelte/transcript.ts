import type { Connection } from 'holdline'
import { type SessionOptions, sessionStore } from 'holdline/sessions'
import { derived } from 'svelte/store'

const TRANSCRIPT: SessionOptions<string, { readonly text: string }> = {
  initial: '',
  reduce: (said, { text }) => said + text,
}

/** A connection and a session are stores already: `$connection.phase`, `$transcript.state`. */
export function createTranscript(connection: Connection, id: string) {
  const transcript = sessionStore(connection, id, TRANSCRIPT)
  const words = derived(transcript, ({ state }) => state.split(' ').length)
  return { transcript, words }
}
