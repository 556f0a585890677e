import type { TranscriptCursor } from './api'

export const isSameCursor = (one: TranscriptCursor | undefined, other: TranscriptCursor | undefined) =>
  one?.lastSeq === other?.lastSeq && one?.epoch === other?.epoch
