import { parseArgs } from 'node:util'
import { runTabs, TABS } from './run'

/** `npm run chaos -- tabs`: the options are those of its usage. */
export async function mainOfTabs(args: readonly string[]): Promise<number> {
  const number = (name: string, text: string) => {
    if (/^\d+$/.test(text)) return Number(text)
    throw new Error(`--${name}: '${text}' is no whole number`)
  }
  const { values } = parseArgs({
    args: [...args],
    options: {
      kills: { type: 'string', default: '20' },
      seconds: { type: 'string', default: '300' },
      sends: { type: 'string', default: '2000' },
      events: { type: 'string', default: '10000' },
      seed: { type: 'string', default: '1' },
      worker: { type: 'boolean', default: false },
    },
  })
  const { worker, ...numbers } = values
  const options = Object.fromEntries(Object.entries(numbers).map(([name, text]) => [name, number(name, text)]))
  const startedAt = performance.now()
  const outcome = await runTabs({ ...(options as Record<keyof typeof numbers, number>), worker, log: console.log })
  for (const [kill, times] of Object.entries(outcome.kills)) console.log(`${String(times).padStart(8)}  ${kill}`)
  for (const violation of outcome.violations) console.log(`  ${violation}`)
  const { lives, sent, heard, violations } = outcome
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0)
  console.log(
    `${TABS} tabs, ${lives} lives, ${sent} messages, ${options.events} events (${heard} in all tabs) in ${seconds} s: ${violations.length} violations`,
  )
  return violations.length ? 1 : 0
}
