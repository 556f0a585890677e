import { readFile } from 'node:fs/promises'
import { text as textOf } from 'node:stream/consumers'
import { Command } from 'commander'
import { formatTrace } from '../trace/formatTrace'
import { parseTrace } from '../trace/parseTrace'
import { type Decision, type Divergence, replayTrace } from '../trace/replayTrace'
import { CliError } from './cliError'
import { type CliIo, processIo } from './io'
import { plain } from './plain'

interface Flags {
  readonly replay?: true
  readonly mermaid?: true
}

const HELP = `
A connection records its last 256 steps, without any text, id, header or URL. Save them where a
bug shows itself:

  await fetch('/report', { method: 'POST', body: JSON.stringify(connection.trace()) })

A line is a step: when, from which state to which, the event, what was known. "✗" is an event that
the state refused, "·" one that moved nothing. --replay gives each step to the machine of this
version and names the first one that it decides otherwise. docs/inspect.md says more.

Exit code: 0 done, 1 this version decides otherwise (--replay), 2 the file is no trace.

Examples:
  $ npx holdline trace report.json
  $ npx holdline trace report.json --replay
  $ pbpaste | npx holdline trace - --mermaid > report.mmd
`

/** `holdline trace <file>`: prints a saved trace, and replays it. */
export function traceCommand(io: CliIo = processIo()): Command {
  return new Command('trace')
    .description('print a saved trace of a connection, and replay it')
    .argument('<file>', 'what JSON.stringify(connection.trace()) has made; - is standard input')
    .option('--replay', 'say where the machine of this version decides otherwise')
    .option('--mermaid', 'as a Mermaid sequence diagram in the place of a timeline')
    .addHelpText('after', HELP)
    .action((file: string, flags: Flags) => show(io, file, flags))
}

async function show(io: CliIo, file: string, { replay, mermaid }: Flags): Promise<void> {
  const trace = await read(file)
  io.out(`${formatTrace(trace, mermaid ? 'mermaid' : 'timeline')}\n`)
  if (!replay) return
  const { steps, divergence } = replayTrace(trace)
  // A diagram on standard output stays one.
  const say = mermaid ? io.err : io.out
  say(`\nreplay: ${divergence ? plain(sentence(divergence)) : `this version decides all ${steps} steps the same`}\n`)
  io.exitCode(divergence ? 1 : 0)
}

async function read(file: string) {
  const name = file === '-' ? 'standard input' : file
  let text: string
  try {
    text = await (file === '-' ? textOf(process.stdin) : readFile(file, 'utf8'))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new CliError(
      `${name} cannot be read (${code ?? message}): name the file of a saved trace, or - for standard input.`,
      2,
    )
  }
  try {
    return parseTrace(text)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new CliError(plain(`${name} is no trace (${why}): save JSON.stringify(connection.trace()), unchanged.`), 2)
  }
}

/** Says of the first other decision what was recorded and what is decided now. */
function sentence({ index, step, recorded, replayed }: Divergence): string {
  const names = (Object.keys(recorded) as (keyof Decision)[]).filter((name) => recorded[name] !== replayed[name])
  const told = names.map((name) => `${WORDS[name]} was ${tell(recorded[name])} and is ${tell(replayed[name])} now`)
  return `step ${index + 1} is decided otherwise: ${step.event} in ${step.from}: ${told.join(', ')}`
}

const tell = (value: unknown) => (value === null ? 'none' : String(value))

const WORDS: Readonly<Record<keyof Decision, string>> = {
  to: 'the next state',
  refused: 'refused',
  attempt: 'attempt',
  fruitless: 'the count of fruitless resumes',
  resumes: 'the count of resumes',
}
