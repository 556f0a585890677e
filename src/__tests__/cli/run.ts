import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Command, CommanderError } from 'commander'
import { build } from 'esbuild'
import { CliError } from '../../cli/cliError'
import type { CliIo } from '../../cli/io'

/** A process that keeps the output of a command, and how it ends. */
export function fakeIo() {
  const seen = { out: '', err: '', code: 0 }
  const io: CliIo = {
    out(text) {
      seen.out += text
    },
    err(text) {
      seen.err += text
    },
    exitCode(code) {
      seen.code = code
    },
  }
  return { io, seen }
}

/** Runs a command in this process, as main.ts does. */
export async function runCommand(command: Command, args: readonly string[], { io, seen }: ReturnType<typeof fakeIo>) {
  command.exitOverride().configureOutput({ writeOut: io.out, writeErr: io.err })
  try {
    await command.parseAsync(args, { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) seen.code = error.exitCode === 0 ? 0 : 2
    else if (error instanceof CliError) {
      seen.err += `error: ${error.message}\n`
      seen.code = error.exitCode
    } else throw error
  }
  return seen
}

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))

/** The path of the real command, built into a folder of its own. */
export async function buildCommand() {
  const folder = mkdtempSync(join(tmpdir(), 'holdline-cli-'))
  const outfile = join(folder, 'dist/cli.js')
  mkdirSync(join(folder, 'dist'))
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ version: '1.2.3', type: 'module', peerDependencies: {} }),
  )
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  await build({
    entryPoints: [join(ROOT, 'src/cli/main.ts')],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
  })
  return { folder, path: outfile }
}
