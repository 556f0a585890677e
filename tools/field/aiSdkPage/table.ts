import type { Seen } from './faults'

export const RESULTS = new URL('../../../reports/ai-sdk-page.json', import.meta.url)
/** What docs/ai-sdk.md says was measured. */
export const MEASURED = new URL('./measured.json', import.meta.url)

export interface Measured {
  readonly name: string
  /** `name version`, of the packages that it is made of. */
  readonly versions: readonly string[]
  readonly faults: Readonly<Record<string, Seen>>
}

export interface Results {
  readonly at: string
  readonly stacks: readonly Measured[]
}

const TITLES: Readonly<Record<string, string>> = {
  holdline: '`holdline/ai-sdk`',
  resumable: '`DefaultChatTransport`, `resumable-stream`',
  durable: '`@durable-streams/aisdk-transport`',
}

/** Fault × stack: what the user sees. */
export function formatTable({ at, stacks }: Results): string {
  const faults = Object.keys(stacks[0]?.faults ?? {})
  const rows = faults.map((fault) => [fault, ...stacks.map(({ faults }) => cellOf(faults[fault]))])
  const [head, rule] = [
    ['', ...stacks.map(({ name }) => TITLES[name] ?? name)],
    ['---', ...stacks.map(() => '---')],
  ]
  const versions = [`measured on ${at.slice(0, 10)} with`, ...stacks.map(({ versions }) => versions.join(', '))]
  return [head, rule, ...rows, versions].map((line) => `| ${line.join(' | ')} |`).join('\n')
}

function cellOf(seen: Seen | undefined): string {
  if (!seen) return 'not measured'
  return seen.steps.map(([when, screen]) => `${when === 'at the end' ? '' : `${when}: `}${screen}`).join('; ')
}
