import type { TranscriptStore } from 'holdline/server/transcripts'

/** As much of `DatabaseSync` (node:sqlite) and of `Database` (better-sqlite3) as it uses. */
interface Database {
  exec(sql: string): unknown
  prepare(sql: string): {
    get(...values: readonly (string | number)[]): unknown
    run(...values: readonly (string | number)[]): { readonly changes: number | bigint }
  }
}

interface Row {
  readonly seq: number
  readonly epoch: string
  readonly state: string
}

/**
 * A row for each session: state and cursor are replaced together, if the cursor is the known one.
 */
export function sqliteStore(database: Database): TranscriptStore {
  database.exec('CREATE TABLE IF NOT EXISTS transcript (session TEXT PRIMARY KEY, seq INTEGER, epoch TEXT, state TEXT)')
  const find = database.prepare('SELECT seq, epoch, state FROM transcript WHERE session = ?')
  const add = database.prepare('INSERT INTO transcript VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING')
  const replace = database.prepare(
    'UPDATE transcript SET seq = ?, epoch = ?, state = ? WHERE session = ? AND seq = ? AND epoch = ?',
  )
  return {
    load(session) {
      const row = find.get(session) as Row | undefined
      return row && { state: JSON.parse(row.state), cursor: { lastSeq: row.seq, epoch: row.epoch } }
    },
    save(session, { state, cursor: { lastSeq, epoch } }, before) {
      const text = JSON.stringify(state)
      const { changes } = before
        ? replace.run(lastSeq, epoch, text, session, before.lastSeq, before.epoch)
        : add.run(session, lastSeq, epoch, text)
      return Number(changes) === 1
    },
  }
}
