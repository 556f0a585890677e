import type { Transcript, TranscriptStore } from './api'
import { isSameCursor } from './cursor'

/** Transcripts in the memory of this process, for tests: it grows with every session. */
export function memoryStore(): TranscriptStore {
  const saved = new Map<string, Transcript>()
  return {
    load: (sessionId) => saved.get(sessionId),
    save(sessionId, transcript, before) {
      if (!isSameCursor(saved.get(sessionId)?.cursor, before)) return false
      saved.set(sessionId, transcript)
      return true
    },
  }
}
