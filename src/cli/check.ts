import { exec } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { Command, InvalidArgumentError } from 'commander'
import { SERVER_TOPICS, type ServerContractOptions } from '../testing/serverContract/case'
import { resolveOptions } from '../testing/serverContract/options'
import { runServerContract, type ServerReport } from '../testing/serverContract/run'
import { countsOf, toJson, toJUnit, toRow, toSummary } from './checkReport'
import { CliError } from './cliError'
import { type HeaderLines, toHeaders, toNumber, withCookie } from './flags'
import { type CliIo, processIo } from './io'

/** What the command touches of its process. */
export interface CheckIo extends CliIo {
  /** Whether the table may have colours. */
  readonly hasColour: boolean
}

interface Flags {
  readonly send?: object
  readonly endpoint?: string
  readonly events?: number
  readonly header?: HeaderLines
  readonly cookie?: string
  readonly secondUser?: HeaderLines
  readonly goodbye?: string
  readonly only?: readonly string[]
  readonly timeout?: number
  readonly json?: true
  readonly junit?: string
}

const HELP = `
Each case is one numbered rule of docs/protocol.md (P1, P2, …). What the server announces in its
welcome decides what it owes: the rest is "not promised". A rule that the protocol calls SHOULD is
"advice" where it is not kept, and fails nothing. docs/check.md says more.

The server has to talk, so that it can be heard: --send is a message that makes it publish events
in a session, and is answered at once. --events says how many: without it, that a message is applied
once is told by the events that have its text. In its texts {session} stands for a session that only one
case uses, and {text} for what a user types. By default it is
  {"type":"send","sessionId":"{session}","prompt":"{text}"}

Exit code: 0 all rules are kept, 1 one is broken, 2 the check could not run.

Topics: ${SERVER_TOPICS.join(' ')}

Examples:
  $ npx holdline check http://127.0.0.1:3000/api/chat
  $ npx holdline check http://127.0.0.1:3000/api/chat --events 3 --only resume,replay,P85
  $ npx holdline check https://chat.example/api --header 'Authorization: Bearer a' \\
      --second-user 'Authorization: Bearer b' --junit check.xml
  $ npx holdline check http://127.0.0.1:3000/api/chat --goodbye 'kill -TERM 4711'
`

/** `holdline check <url>`: holds a server in any language against docs/protocol.md. */
export function checkCommand(io: CheckIo = checkIo()): Command {
  return new Command('check')
    .description('hold a server, in any language, against the rules of the protocol')
    .argument('<url>', 'the base URL: the stream is <url>/events, an endpoint is <url>/<endpoint>')
    .option('--send <json>', 'a message that makes the server talk (see below)', toMessage)
    .option('--endpoint <name>', 'where it is posted, if that is not the endpoint of its type')
    .option('--events <n>', 'how many events one such message makes, exactly (default: unknown)', toNumber)
    .option('--header <line>', "a header of each request, 'Name: value'; may be repeated", toHeaders)
    .option('--cookie <text>', 'the Cookie of each request')
    .option(
      '--second-user <line>',
      'a header of another user, who may not read what the first one may; may be repeated',
      toHeaders,
    )
    .option('--goodbye <command>', 'a command that makes the server shut down, run at the end')
    .option('--only <list>', 'topics or numbers of rules, with commas between', (list: string) => list.split(','))
    .option('--timeout <ms>', 'how long something that has to come is waited for (default: 5000)', toNumber)
    .option('--json', 'the result as JSON, and no table')
    .option('--junit <file>', 'the result as JUnit XML, in a file')
    .addHelpText('after', HELP)
    .action((url: string, flags: Flags) => check(io, url, flags))
}

async function check(io: CheckIo, url: string, flags: Flags): Promise<void> {
  const { json, junit, only } = flags
  const options = optionsOf(url, flags)
  const onReport = (report: ServerReport) => json || io.out(`${toRow(report, io.hasColour)}\n`)
  try {
    resolveOptions(options)
    await reach(url)
    const reports = await runServerContract(options, { only, onReport })
    io.out(json ? `${toJson(url, reports)}\n` : `\n${toSummary(reports)}\n`)
    if (junit !== undefined) await write(junit, toJUnit(url, reports))
    io.exitCode(countsOf(reports).failed > 0 ? 1 : 0)
  } catch (error) {
    throw error instanceof TypeError ? new CliError(`${error.message}.`, 2) : error
  }
}

function optionsOf(url: string, flags: Flags): ServerContractOptions {
  const { send, endpoint, events, header, cookie, secondUser, goodbye, timeout } = flags
  return {
    url,
    endpoint,
    events,
    headers: withCookie(header, cookie),
    secondUser,
    timeout,
    send: send as ServerContractOptions['send'],
    goodbye: goodbye === undefined ? undefined : () => promisify(exec)(goodbye),
  }
}

/** @throws CliError if nothing answers there, whatever it may be */
async function reach(url: string): Promise<void> {
  try {
    await fetch(new URL('/', url), { method: 'HEAD', redirect: 'manual', signal: AbortSignal.timeout(5_000) })
  } catch (error) {
    const { name, cause } = Object(error)
    // One that is slow may be quicker where it is asked for a stream.
    if (name === 'TimeoutError') return
    const why = cause?.code ?? cause?.message ?? error
    throw new CliError(`there is no server at ${url} (${why}): start it, or correct the URL.`, 2)
  }
}

/** @throws CliError */
async function write(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text)
  } catch (error) {
    throw new CliError(`${file} cannot be written (${Object(error).code}): name a file that can be, with --junit.`, 2)
  }
}

// Values of flags

function toMessage(text: string): object {
  try {
    return Object(JSON.parse(text))
  } catch {
    throw new InvalidArgumentError('it is no JSON')
  }
}

function checkIo(): CheckIo {
  return {
    ...processIo(),
    // https://no-color.org
    hasColour: process.stdout.isTTY === true && !process.env.NO_COLOR,
  }
}
