#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { checkCommand } from './check'
import { CliError } from './cliError'
import { doctorCommand } from './doctor'
import { newCommand } from './new'
import { ownPackage } from './ownPackage'
import { tailCommand } from './tail'
import { traceCommand } from './trace'

// The command `holdline`. Each command is a file of this folder. Nothing of it is loaded by those
// who import the library.

const EXAMPLES = `
Examples:
  npx holdline new my-app     # a chat app, complete, in a folder of its own
  npx holdline new --help     # its options, with examples
  npx holdline check http://127.0.0.1:3000/api/chat   # does a server keep the rules of the protocol?
  npx holdline doctor http://127.0.0.1:3000/api/chat  # why does it not stream here?
  npx holdline tail http://127.0.0.1:3000/api/chat --session s1   # follow a session
  npx holdline trace report.json --replay             # what did a connection do, and would it still?

docs/cli.md of the package has all commands, options and exit codes.`

const program = new Command('holdline')
  .description('The command line of holdline: a chat or agent connection that holds.')
  .version(ownPackage().version)
  .addHelpText('after', EXAMPLES)
  .exitOverride()

const commands = [newCommand(), checkCommand(), doctorCommand(), tailCommand(), traceCommand()]
for (const command of commands) program.addCommand(command.copyInheritedSettings(program))

// `holdline … | head`: when the reader has gone, there is nothing left to do.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = exitCodeOf(error)
}

/** Commander has told the user what it threw. A bug is thrown on, with its stack. */
function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (!(error instanceof CliError)) throw error
  console.error(`error: ${error.message}`)
  return error.exitCode
}
