import { DatabaseSync } from 'node:sqlite'

export interface Bubble {
  readonly from: 'me' | 'agent'
  readonly text: string
}

/** The transcripts, each with the cursor that it belongs to. */
export function openTranscripts(path: string) {
  const database = new DatabaseSync(path)
  database.exec(`
    CREATE TABLE IF NOT EXISTS bubble (number INTEGER PRIMARY KEY, session TEXT, sender TEXT, text TEXT);
    CREATE TABLE IF NOT EXISTS cursor (session TEXT PRIMARY KEY, seq INTEGER, epoch TEXT);
  `)
  const add = database.prepare('INSERT INTO bubble (session, sender, text) VALUES (?, ?, ?)')
  const move = database.prepare('REPLACE INTO cursor VALUES (?, ?, ?)')
  const bubblesOf = database.prepare('SELECT sender, text FROM bubble WHERE session = ? ORDER BY number')
  const cursorOf = database.prepare('SELECT seq, epoch FROM cursor WHERE session = ?')

  /** All of it happens or nothing, and it reads of one moment. */
  function transaction<Result>(work: () => Result): Result {
    database.exec('BEGIN IMMEDIATE')
    try {
      const result = work()
      database.exec('COMMIT')
      return result
    } catch (error) {
      database.exec('ROLLBACK')
      throw error
    }
  }

  return {
    /** What an event says, and the cursor that has it. A repeat changes nothing. */
    save: (session: string, { from, text }: Bubble, { seq, epoch }: { seq: number; epoch: string }) =>
      transaction(() => {
        const cursor = cursorOf.get(session)
        if (cursor?.epoch === epoch && Number(cursor.seq) >= seq) return
        add.run(session, from, text)
        move.run(session, seq, epoch)
      }),

    /** For `load`. */
    read: (session: string) =>
      transaction(() => {
        const { seq = 0, epoch = '' } = cursorOf.get(session) ?? {}
        const state = bubblesOf.all(session).map(({ sender, text }) => ({ from: sender, text }) as Bubble)
        return { state, cursor: { lastSeq: Number(seq), epoch: String(epoch) } }
      }),

    close: () => database.close(),
  }
}
