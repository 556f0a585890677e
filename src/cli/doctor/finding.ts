export const TOPICS = [
  'address',
  'tls',
  'http',
  'redirect',
  'stream',
  'first byte',
  'headers',
  'compression',
  'buffering',
  'idle',
  'post',
  'cors',
  'cookies',
] as const

/** One line of the doctor. */
export interface Finding {
  readonly topic: (typeof TOPICS)[number]
  /** `problem`: a client suffers from it. `unknown`: it could not be tried. */
  readonly level: 'ok' | 'advice' | 'problem' | 'unknown'
  readonly seen: string
  readonly expected?: string
  readonly fix?: string
}

export const ms = (duration: number) =>
  duration < 1_000 ? `${Math.round(duration)} ms` : `${(duration / 1_000).toFixed(1)} s`

export function problemOf(topic: Finding['topic'], seen: string, expected: string, fix: string): Finding {
  return { topic, level: 'problem', seen, expected, fix }
}
