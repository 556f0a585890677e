import { setTimeout as sleep } from 'node:timers/promises'
import { overHttp } from '../../load/remote'
import { startRedis } from '../../shared/redisServer'
import type { AttackerProcess } from './attackerProcess'
import type { Account, HonestProcess, Latency } from './honestProcess'
import type { Program, Programs } from './programs'
import type { ServerControl, ServerProcess } from './serverProcess'
import type { Attack, Findings, LogKind, Target, Wire } from './types'

/** What the server may hold over what it had at its start, MiB, and how exact that has to be. */
export const BUDGET = Number(process.env.HOSTILE_BUDGET ?? 256)
const TOLERANCE = 64
/**
 * Far beyond the budget there is nothing to be learnt any more, and other people use this machine.
 * MiB.
 */
const SPARE = 1_500
/**
 * How many times as slow the honest client may be, and below which quiet value noise would decide,
 * ms.
 */
const SLOWER = 5
const FLOOR = 50
const WARM_UP = 400
const QUIET = 1_200
const ATTACK = 3.5
/** As long again at most where an attack is not done, ms. */
const MORE = 4_000
/** After it, for whoever has to notice that the attackers are gone, ms. */
const CALM = 500

export interface Result {
  readonly attack: Attack
  readonly over: Wire
  readonly log: LogKind
  /** Why it did not pass, in one sentence each. */
  readonly failures: readonly string[]
  /** MiB: at the start, the most, and what is in use after a collection when all is over. */
  readonly rss: { readonly start: number; readonly peak: number }
  readonly kept: number | undefined
  readonly quiet: Latency
  readonly attacked: Latency | undefined
  /** ms; null: the honest client did not get back onto the line. */
  readonly reconnected: number | null | undefined
  readonly account: Account | undefined
  readonly findings: Findings | undefined
  /** How the server ended; undefined: it lives. */
  readonly end: string | undefined
}

/**
 * What fails for its times alone is tried once more: the machine may have had something else to do.
 */
export async function soak(...given: Parameters<typeof soakOnce>): Promise<Result> {
  const result = await soakOnce(...given)
  const isAboutTime = result.failures.every((failure) => failure.startsWith('p99'))
  return result.failures.length > 0 && isAboutTime ? soakOnce(...given) : result
}

/** One attack on one server, with one honest client beside it. */
async function soakOnce(programs: Programs, attack: Attack, over: Wire, log: LogKind): Promise<Result> {
  const redis = log === 'redis' ? await startRedis() : undefined
  const server = programs.start<ServerProcess>('serverProcess')
  const honest = programs.start<HonestProcess>('honestProcess')
  const attacker = programs.start<AttackerProcess>('attackerProcess', { nice: 10 })
  try {
    // Somebody who may do nothing but PUBLISH.
    await redis?.admin.call('ACL', 'SETUSER', 'publisher', 'on', '>secret', 'resetkeys', '&*', '-@all', '+publish')
    const origin = await server.ask.start(log, redis?.url)
    const target: Target = {
      url: `${origin}/api/chat`,
      over,
      log,
      redis: redis && `redis://publisher:secret@127.0.0.1:${redis.port}`,
      control: `${origin}/control`,
    }
    await honest.ask.open(target.url, over)
    return await watch({ attack, target, server, honest, attacker, redis: redis?.admin })
  } finally {
    for (const program of [server, honest, attacker]) program.stop()
    await redis?.stop()
  }
}

interface Watched {
  readonly attack: Attack
  readonly target: Target
  readonly server: Program<ServerProcess>
  readonly honest: Program<HonestProcess>
  readonly attacker: Program<AttackerProcess>
  readonly redis: Parameters<NonNullable<Attack['audit']>>[0] | undefined
}

/** What the server's process holds, until `stop`. */
function watchMemory(server: Program<unknown>, onTooMuch: () => void) {
  const rss = { start: server.rss(), peak: 0 }
  const timer = setInterval(() => {
    rss.peak = Math.max(rss.peak, server.rss())
    if (rss.peak > SPARE) onTooMuch()
  }, 50)
  return { rss, stop: () => clearInterval(timer) }
}

async function watch(watched: Watched): Promise<Result> {
  const { attack, target, server, honest, attacker, redis } = watched
  const control = overHttp<ServerControl>(target.control)
  await sleep(WARM_UP)
  await honest.ask.measure()
  const paid = await honest.ask.pay()
  await sleep(QUIET)
  const quiet = await honest.ask.latency()
  await control.kept()

  const memory = watchMemory(server, () => attacker.ask.stop().catch(() => {}))
  const seen = await underAttack(watched)
  attacker.stop()
  await sleep(CALM)

  const paidAgain = server.end ? undefined : await soon(honest.ask.pay())
  await soon(control.stopTicks())
  const account = await honest.ask.settle((await soon(control.ticks())) ?? {})
  const ranTwice = (await soon(control.ranTwice())) ?? {}
  const kept = await soon(control.kept())
  memory.stop()
  const result: Omit<Result, 'failures'> = {
    attack,
    over: target.over,
    log: target.log,
    rss: memory.rss,
    kept: kept && Math.round(kept / 2 ** 20),
    quiet,
    ...seen,
    account: server.end ? undefined : account,
    end: server.end,
  }
  const payments = server.end ? [paid] : [paid, paidAgain]
  return {
    ...result,
    failures: [
      ...judge(result),
      ...payments.filter((status) => status !== 'accepted').map((status) => `a payment was ${status}, not accepted`),
      ...Object.entries(ranTwice).map(([key, count]) => `the command '${key}' ran ${count} times`),
      ...(redis && attack.audit ? await attack.audit(redis) : []),
    ],
  }
}

/** The attack from its begin to its end, as the honest client sees it. */
async function underAttack({ attack, target, server, honest, attacker }: Watched) {
  await honest.ask.measure()
  const attacking = attacker.ask.run(attack.name, target).catch((error: unknown) => brokenOff(error))
  await Promise.race([takeTime((attack.seconds ?? ATTACK) * 1_000, attacker), ended(server)])
  const attacked = await honest.ask.latency()
  const reconnected = server.end ? undefined : await honest.ask.reconnect()
  await attacker.ask.stop().catch(() => {})
  return { attacked, reconnected, findings: await soon(attacking) }
}

/** No answer of a server may hold up the verdict on it. */
const soon = <T>(asked: Promise<T>) =>
  Promise.race([asked.catch(() => undefined), sleep(4_000, undefined, { ref: false })])

const brokenOff = (error: unknown): Findings => ({ failures: [`the attack broke off: ${error}`], facts: {} })

/** The attack's, and some more where the machine is slow. */
async function takeTime(ms: number, attacker: Program<AttackerProcess>) {
  await sleep(ms)
  for (let more = 0; more < MORE && (await attacker.ask.isBusy().catch(() => false)); more += 100) await sleep(100)
}

async function ended(program: Program<unknown>) {
  while (!program.end) await sleep(50)
}

function judge({ rss, quiet, attacked, reconnected, account, findings, end }: Omit<Result, 'failures'>): string[] {
  // All that follows, the end of the attack included, is a consequence.
  const over = rss.peak - rss.start
  const failures = [
    end !== undefined && `the server's process ended: ${end}`,
    over > BUDGET + TOLERANCE && `resident memory rose by ${over} MiB, more than ${BUDGET} + ${TOLERANCE}`,
  ]
  if (end === undefined) {
    for (const what of ['send', 'arrive'] as const) {
      const limit = SLOWER * Math.max(FLOOR, quiet[what], attacked?.lag ?? 0)
      const p99 = attacked?.[what] ?? Infinity
      failures.push(p99 > limit && `p99 of ${what} was ${p99} ms, more than ${limit} (quiet: ${quiet[what]})`)
    }
    failures.push(reconnected === null && 'the honest client could not reconnect within 5 s')
    const { lost = 0, doubled = 0, forged = 0, notAccepted = {} } = account ?? {}
    for (const [what, count] of Object.entries({ lost, doubled, forged }))
      failures.push(count > 0 && `${count} events were ${what}`)
    for (const [why, count] of Object.entries(notAccepted)) failures.push(`${count} messages were ${why}`)
    failures.push(findings === undefined && 'the attack did not end when it was told to')
    failures.push(...(findings?.failures ?? []))
  }
  return failures.filter((failure) => failure !== false)
}
