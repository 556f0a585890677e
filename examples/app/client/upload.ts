import type { Upload } from '../shared/protocol'
import type { Call } from './connection'

const REASONS: Readonly<Record<number, string>> = {
  403: 'there is no room left for your files.',
  413: 'it is larger than 10 MiB.',
  415: 'it is neither a picture, nor a PDF, nor text.',
}

/** Sends a file by itself. What comes back takes its place in the message. */
export async function upload(call: Call, sessionId: string, file: File): Promise<Upload> {
  const path = `sessions/${sessionId}/files?name=${encodeURIComponent(file.name)}`
  const answer = await call(path, { method: 'POST', body: file }).catch(() => null)
  if (!answer) throw new Error('there is no connection.')
  if (!answer.ok) throw new Error(REASONS[answer.status] ?? `the server answered ${answer.status}.`)
  return answer.json()
}
