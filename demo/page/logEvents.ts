import type { Client } from './client'

/** Logs what a connection tells of its lifecycle, as `kind` and text. */
export function logEvents({ on }: Client['connection'], log: (kind: string, text: string) => void) {
  on('phase', ({ phase, previous }) => log('phase', `${previous} → ${phase}`))
  on('opened', ({ sessions }) => log('opened', `${sessions.length} session${sessions.length === 1 ? '' : 's'}`))
  on('closed', ({ reason, error }) => log('closed', error ? `${reason} (${error.code})` : reason))
  on('stopped', ({ error }) => log('stopped', `${error.code}: ${error.message}`))
  on('refused', ({ event, phase }) => log('refused', `${event} in ${phase}`))
  on('error', ({ error }) => log('error', `${error.code}: ${error.message}`))
}
