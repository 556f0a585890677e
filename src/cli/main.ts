#!/usr/bin/env node
import { createRequire } from 'node:module'
import { Command } from 'commander'
import { checkCommand } from './check'

// The command `holdline`. Each command is a file of this folder. Nothing of it is loaded by those
// who import the library.

const { version } = createRequire(import.meta.url)('../package.json')

const program = new Command('holdline')
  .description('The command line of holdline: a chat or agent connection that holds.')
  .version(version)
  .addCommand(checkCommand())

await program.parseAsync()
