export type {
  LoggedEvent,
  Transcript,
  TranscriptCursor,
  TranscriptStore,
  Transcripts,
  TranscriptsOptions,
  TypedTranscripts,
} from './api'
export { createTranscripts } from './createTranscripts'
export { memoryStore } from './memoryStore'
