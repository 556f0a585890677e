import { SERVER_TOPICS, type ServerCase, type ServerContractOptions, type ServerVerdict } from './case'
import { resolveOptions } from './options'
import { BASIC_RULES, serverContract } from './serverContract'

/** How a case ended. */
export interface ServerReport extends Pick<ServerCase, 'number' | 'topic' | 'level' | 'title'> {
  readonly outcome: ServerVerdict['outcome'] | 'failed'
  /** What is wrong, missing or not promised, in a sentence. */
  readonly why?: string | undefined
  /** How long it took, ms. */
  readonly ms: number
}

export interface ServerRunSettings {
  /** Topics, or numbers of rules. Default: all. */
  readonly only?: readonly string[] | undefined
  /** Is told of each case as soon as it has ended. */
  onReport?(report: ServerReport): void
}

/**
 * Holds a server against the contract, one case after the other. Rejects with a TypeError that
 * names the option, if one is invalid or unknown; never because of what the server does.
 */
export async function runServerContract(
  options: ServerContractOptions,
  { only, onReport }: ServerRunSettings = {},
): Promise<readonly ServerReport[]> {
  resolveOptions(options)
  const cases = selected(only)
  const broken = new Set<string>()
  const reports: ServerReport[] = []
  // It waits for nearly all of its time, so it does so beside the others.
  const quiet = cases.find(({ topic }) => topic === 'heartbeat')
  let waiting: Promise<ServerReport> | undefined
  for (const each of cases) {
    if (quiet && !BASIC_RULES.includes(each.number)) waiting ??= reportOn(quiet, options, broken)
    const report = await ((each === quiet && waiting) || reportOn(each, options, broken))
    if (report.outcome === 'failed') broken.add(each.number)
    reports.push(report)
    onReport?.(report)
  }
  return reports
}

async function reportOn(
  { number, topic, level, title, run }: ServerCase,
  options: ServerContractOptions,
  broken: ReadonlySet<string>,
): Promise<ServerReport> {
  const start = performance.now()
  const ended = (verdict: Pick<ServerReport, 'outcome' | 'why'>): ServerReport => ({
    number,
    topic,
    level,
    title,
    ...verdict,
    ms: Math.round(performance.now() - start),
  })
  return run(options, broken).then(ended, (error: unknown) =>
    ended({ outcome: 'failed', why: error instanceof Error ? error.message : String(error) }),
  )
}

/** @throws TypeError naming what is neither a topic nor a number */
function selected(only: readonly string[] | undefined): readonly ServerCase[] {
  if (only === undefined) return serverContract
  const names: ReadonlySet<string> = new Set([...SERVER_TOPICS, ...serverContract.map(({ number }) => number)])
  const unknown = only.find((name) => !names.has(name))
  if (unknown !== undefined || only.length === 0)
    throw new TypeError(
      `'only' must name topics (${SERVER_TOPICS.join(', ')}) or rules such as P54, not ${JSON.stringify(unknown)}`,
    )
  return serverContract.filter(({ number, topic }) => only.includes(number) || only.includes(topic))
}
