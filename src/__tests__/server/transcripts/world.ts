import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { SessionLog } from '../../../server'
import { fileStore } from '../../../server/node'
import { createTranscripts, memoryStore, type TranscriptStore } from '../../../server/transcripts'
import { fakeClock } from '../../support/server'

export interface Said {
  readonly type: string
  readonly text?: string
}

/** The texts that were said; `…` stands behind what is still said. */
export type Texts = readonly string[]

export const reduce = (texts: Texts, { type, text = '' }: Said): Texts => {
  if (type === 'run.started') return [...texts, '…']
  if (type === 'run.ended') return texts.filter((said) => said !== '…')
  if (text === 'poison') throw new Error('cannot be read')
  return [...texts.filter((said) => said !== '…'), text, ...texts.filter((said) => said === '…')]
}

export const breakOff = (texts: Texts): Texts => texts.map((said) => (said === '…' ? 'broken off' : said))

export const say = (text: string) => ({ type: 'said', text })

export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'holdline-transcripts-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export const STORES: readonly (readonly [name: string, createStore: () => TranscriptStore])[] = [
  ['memoryStore', () => memoryStore()],
  ['fileStore', () => fileStore(join(temporaryFolder(), 'not', 'there', 'yet'))],
]

/** The transcripts of one process. */
export function createProcess(log: SessionLog, store: TranscriptStore) {
  const errors: unknown[] = []
  const clock = fakeClock()
  const onError = (error: unknown) => void errors.push(error)
  const transcripts = createTranscripts({ log, store, initial: [] as Texts, reduce, breakOff, onError, clock })
  return { transcripts, log: transcripts.log, clock, errors }
}

/** The state of the session that is saved when a second more has passed. */
export async function savedAfter(clock: ReturnType<typeof fakeClock>, store: TranscriptStore) {
  await clock.advance(1_000)
  return (await store.load('s1'))?.state
}
