import { Command, InvalidArgumentError } from 'commander'
import type { Connection, SessionNews } from '../connection/api'
import type { InboundMessage } from '../connection/messages'
import { createConnection } from '../createConnection'
import { ConnectionError } from '../errors'
import { CliError } from './cliError'
import { type HeaderLines, toHeaders, withCookie } from './flags'
import { type CliIo, processIo } from './io'
import { plain } from './plain'

export interface TailIo extends CliIo {
  /** Ctrl-C, or another request to end. Returns the function that stops listening. */
  onInterrupt(listener: () => void): () => void
}

interface Flags {
  readonly session: string
  readonly after: number | 'head'
  readonly header?: HeaderLines
  readonly cookie?: string
  readonly json?: true
}

/** Resets in a row, with no event between them, after which a session is not asked for again. */
const MOST_RESETS = 3

const HELP = `
An event is a line on standard output; what happens to the connection is on standard error, so a
pipe gets events and nothing else. A line that breaks is opened again, as in the library: no event
is missing and none comes twice. Ctrl-C ends it, and says where to go on.

By default all that the server still has of the session is printed first. --after 34 begins behind
event 34, --after head with what happens from now on.

Exit code: 0 ended by Ctrl-C, 1 the session is gone or refused, or the connection was stopped,
2 called wrongly.

Examples:
  $ npx holdline tail http://127.0.0.1:3000/api/chat --session s1
  $ npx holdline tail https://chat.example/api/chat --session s1 --after head --cookie 'sid=…'
  $ npx holdline tail http://127.0.0.1:3000/api/chat --session s1 --json | jq .text
`

/** `holdline tail <url> --session s1`: follows a session by the real client. */
export function tailCommand(io: TailIo = tailIo()): Command {
  return new Command('tail')
    .description('follow the events of a session in a terminal')
    .argument('<url>', 'the base URL: the stream is <url>/events, an endpoint is <url>/<endpoint>')
    .requiredOption('--session <id>', 'the session', toSession)
    .option('--after <seq>', "the number of the event to begin behind, or 'head'", toPlace, 0)
    .option('--header <line>', "a header of each request, 'Name: value'; may be repeated", toHeaders)
    .option('--cookie <text>', 'the Cookie of each request')
    .option('--json', 'each event as its JSON')
    .addHelpText('after', HELP)
    .action((url: string, flags: Flags) => tail(io, url, flags))
}

function toSession(text: string): string {
  if (text === '') throw new InvalidArgumentError('it is empty')
  return text
}

function toPlace(text: string): number | 'head' {
  const seq = Number(text)
  if (text === 'head') return text
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(seq))
    throw new InvalidArgumentError("it is neither the number of an event nor 'head'")
  return seq
}

async function tail(io: TailIo, url: string, flags: Flags): Promise<void> {
  // A relative one is for pages.
  if (!/^https?:/i.test(url)) throw wrongCall(`"${url}" is no URL`)
  const note = (text: string) => io.err(`-- ${plain(text)}\n`)
  let connection: Connection | undefined
  try {
    connection = createConnection({ url, headers: withCookie(flags.header, flags.cookie) })
    tellLine(connection, note)
    await follow(connection, flags, { io, note })
  } catch (error) {
    throw error instanceof ConnectionError ? wrongCall(error.message) : error
  } finally {
    connection?.dispose()
  }
}

const wrongCall = (why: string) =>
  new CliError(plain(`${why}: call it as holdline tail http://127.0.0.1:3000/api/chat --session s1.`), 2)

/** Tells of the line, each thing once. */
function tellLine(connection: Connection, note: (text: string) => void) {
  let told: ConnectionError | undefined
  const tell = (error: ConnectionError) => {
    // `fetch failed` says nothing; the cause of it does.
    const { code } = Object(Object(error.cause).cause)
    if (error !== told) note(`${error.code}: ${error.message}${code ? ` (${code})` : ''}`)
    told = error
  }
  const tellWait = () => {
    const { phase, retryAt, lastError } = connection
    if (phase !== 'backoff') return
    if (lastError) tell(lastError)
    note(`again in ${(Math.max((retryAt ?? 0) - Date.now(), 0) / 1_000).toFixed(1)} s`)
  }
  connection.on('opened', () => note('open'))
  connection.on('closed', ({ reason, error }) => {
    if (reason !== 'disconnect') note(`closed (${reason})`)
    if (error) tell(error)
    tellWait()
  })
  // "not connected to …" has that of `lastError` in it, which is told with its cause.
  const isTold = ({ message }: ConnectionError) =>
    connection.phase === 'backoff' && message.endsWith(`: ${connection.lastError?.message}`)
  connection.on('error', ({ error }) => isTold(error) || tell(error))
  // `closed` follows the phase that an open line changes to.
  connection.on('phase', ({ previous }) => previous === 'open' || tellWait())
}

interface Output {
  readonly io: TailIo
  note(text: string): void
}

/** Until it is interrupted. Rejects with a CliError when no more can come. */
function follow(connection: Connection, { session, after, json }: Flags, { io, note }: Output): Promise<void> {
  let count = 0
  let resets = 0
  return new Promise((resolve, reject) => {
    const end = (error?: CliError) => {
      stop()
      if (error) return reject(error)
      const { lastSeq } = connection.cursor(session) ?? {}
      const place = lastSeq === undefined ? '' : `; --after ${lastSeq} goes on here`
      note(`goodbye after ${count} ${count === 1 ? 'event' : 'events'}${place}`)
      resolve()
    }
    const stop = io.onInterrupt(end)
    connection.on('message', { session }, (message) => {
      count += 1
      resets = 0
      io.out(`${json ? JSON.stringify(message) : toLine(message)}\n`)
    })
    connection.on('session', (news) => {
      if (news.sessionId !== session) return
      if (news.status === 'reset') {
        resets += 1
        catchUp(connection, news, { note, isAgain: resets <= MOST_RESETS })
      } else if (news.status !== 'resumed') end(new CliError(`${refusalOf(news)}.`, 1))
    })
    connection.on('stopped', ({ error }) => end(new CliError(`${plain(error.message)} (${error.code}).`, 1)))
    connection.watch(session, { after })
    connection.connect()
  })
}

/** The cursor is at the end now: what the server still has before it is asked for. */
function catchUp(
  connection: Connection,
  { sessionId, from, to }: SessionNews,
  { note, isAgain }: { note(text: string): void; readonly isAgain: boolean },
) {
  note(`reset: the server has of this session what came after ${from}, up to ${to}`)
  if (from >= to) return
  if (isAgain) connection.watch(sessionId, { after: from })
  else note(`the server resets the session again and again: going on behind ${to}`)
}

function refusalOf({ sessionId, status }: SessionNews): string {
  const session = plain(JSON.stringify(sessionId))
  if (status === 'gone') return `the session ${session} is gone: the server knows none of that name any more`
  if (status === 'forbidden')
    return `the session ${session} is not for this user: give the --header or --cookie of one who may read it`
  return `the session ${session} is followed no more (${status})`
}

/** `12  token  {"text":"…"}`. */
function toLine({ type, sessionId: _, seq, epoch: __, prevSeq: ___, ...rest }: InboundMessage): string {
  const name = plain(String(type ?? ''))
  return `${String(seq ?? '').padStart(5)}  ${name.padEnd(12)}  ${plain(JSON.stringify(rest))}`
}

function tailIo(): TailIo {
  return {
    ...processIo(),
    onInterrupt(listener) {
      const signals = ['SIGINT', 'SIGTERM'] as const
      const hear = () => listener()
      for (const signal of signals) process.once(signal, hear)
      return () => {
        for (const signal of signals) process.off(signal, hear)
      }
    },
  }
}
