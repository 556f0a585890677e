import { basename, relative, resolve } from 'node:path'
import { Command, Option } from 'commander'
import { type AppChoices, appFiles, dependenciesOf, LOGS } from './appFiles'
import { checkName } from './appName'
import { ownPackage } from './ownPackage'
import { checkFolder, writeApp } from './writeApp'

const EXAMPLES = `
Examples:
  npx holdline new my-app                 # TypeScript, events in memory
  npx holdline new my-app --js            # JavaScript
  npx holdline new my-app --log redis     # events in Redis, for several processes
  npx holdline new .                      # into this folder, if it is empty

The last part of <folder> becomes the name of the app, so npm has to take it. A folder that has
anything but .git in it is refused.

Exit codes: 0 the app is there, 1 it could not be written and nothing was left behind,
2 called wrongly, and nothing was touched.`

interface Options {
  readonly js?: true
  readonly log: AppChoices['log']
}

export function newCommand(): Command {
  return new Command('new')
    .description('Copies a complete chat app into a new folder: login, sessions, streamed answers, stop, history.')
    .argument('<folder>', 'a new folder, or an empty one')
    .option('--js', 'JavaScript (default: TypeScript)')
    .addOption(new Option('--log <log>', 'what keeps the events').choices(LOGS).default('memory'))
    .addHelpText('after', EXAMPLES)
    .action((folder: string, { js, log }: Options) => {
      const target = resolve(folder)
      const choices: AppChoices = { name: basename(target), language: js ? 'js' : 'ts', log }
      const files = appFiles(ownPackage(), choices)
      checkName(choices.name, dependenciesOf(files))
      checkFolder(target)
      writeApp(target, files)
      console.log(nextSteps(target, choices))
    })
}

function nextSteps(target: string, { name, language, log }: AppChoices): string {
  const path = relative('', target)
  const words = { ts: 'TypeScript', js: 'JavaScript', memory: 'in memory', redis: 'in Redis' }
  const steps = [...(path ? [`cd ${/[^\w./-]/.test(path) ? `"${path}"` : path}`] : []), 'npm install', 'npm run dev']
  const needs = log === 'redis' ? '\nIt needs a Redis: at redis://127.0.0.1:6379, or where REDIS_URL says.\n' : ''
  return `${name} is ready: ${words[language]}, with its events ${words[log]}. Next:

${steps.map((step) => `  ${step}`).join('\n')}
${needs}
Its README.md says what is where. The guide, node_modules/holdline/docs/guide.md, builds the app
step by step.`
}
