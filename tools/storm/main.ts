import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { draw } from './draw'
import { eventSource, holdline, type Policy, signalR, socketIo, spreadFor } from './policies'
import { ACCEPT_QUEUE, MODELS, type Model, type Outcome, peak, simulate, timeUntil } from './simulate'

const DEFAULTS = { clients: 1_000_000, rate: 20_000, seed: 1 }
const USAGE = `npm run storm -- [--clients ${DEFAULTS.clients}] [--rate ${DEFAULTS.rate}] [--seed ${DEFAULTS.seed}] [--model ${Object.keys(MODELS).join(' | ')}]

--clients  are dropped at once, 1 to 5000000
--rate     connections per second that the fleet accepts, 1 to 1000000
--seed     of all chance, 0 to 4294967295
--model    what happens to an attempt beyond that; both by themselves
Without options it draws docs/storm.svg as well.`

/** The bar: 99 % are back in this many times what no pacing can beat. */
const BAR = 1.25
/** [spec] Node: server.listen, the default of `backlog`; nginx has the same on Linux. */
const NODE_BACKLOG = 511

const { models, ...fleet } = readArguments()
const bound = fleet.clients / fleet.rate
const goodbye = { retryAfter: 1_000, spread: spreadFor(fleet) }
const POLICIES: readonly Policy[] = [holdline(), holdline('holdline, goodbye', goodbye), eventSource, socketIo, signalR]

const integer = (value: number) => value.toLocaleString('en')
const seconds = (value: number | null) => (value === null ? 'never' : value.toFixed(1))
const ratio = (value: number | null) => (value === null ? '–' : (value / bound).toFixed(2))

console.log(`${integer(fleet.clients)} clients are dropped at once. The fleet accepts ${integer(fleet.rate)} connections/s, so the lower bound is ${bound.toFixed(1)} s.
goodbye: a drain, told with retryAfter ${integer(goodbye.retryAfter)} ms and spread ${integer(goodbye.spread)} ms. Seed ${fleet.seed}.`)
const runs = models.map((model) => ({
  model,
  outcomes: POLICIES.map((policy) => simulate(policy, { ...fleet, model })),
}))
const isHeld = runs.map(report).every(Boolean)
if (process.argv.length === 2) writeFileSync(new URL('../../docs/storm.svg', import.meta.url), draw({ ...fleet, runs }))
process.exitCode = isHeld ? 0 : 1

function report({ model, outcomes }: (typeof runs)[number]): boolean {
  console.log(`\n${model}: ${MODELS[model]}\n`)
  printTable([
    ['', '50 % back, s', '90 %', '99 %', '99 % ÷ bound', 'peak offered/s', 'attempts', 'gave up', 'not back in 1 h'],
    ...outcomes.map(describe),
  ])
  const [dropped, drained] = outcomes as [Outcome, Outcome]
  const last = timeUntil(dropped, 0.99)
  const bars = [
    [last !== null && last <= BAR * bound, `99 % are back in ${ratio(last)} × the lower bound, at most ${BAR}`],
    [
      peak(drained) <= fleet.rate,
      `after a goodbye ${integer(peak(drained))}/s are offered, at most ${integer(fleet.rate)}`,
    ],
  ] as const
  console.log()
  for (const [isMet, bar] of bars) console.log(`${isMet ? 'pass' : 'FAIL'}  ${bar}`)
  console.log(`\n${model === 'backlog' ? explainQueue() : explainTail()}`)
  return bars.every(([isMet]) => isMet)
}

/** What no client decides: how long the queues are. */
function explainQueue() {
  const { length, perSecond } = ACCEPT_QUEUE
  const queue = (fleet.rate * NODE_BACKLOG) / perSecond
  const short = timeUntil(simulate(holdline(), { ...fleet, model: 'backlog', queue }), 0.99)
  return `The bar is for accept queues of ${integer(length)} places for each ${integer(perSecond)} connections/s, what Linux allows by itself. Node asks for ${NODE_BACKLOG} unless told
listen({ backlog: ${length} }). With ${NODE_BACKLOG}, 99 % of holdline's clients are back after ${seconds(short)} s, ${ratio(short)} × the lower bound: the kernel repeats all SYNs
at the same times, whatever the client's pacing, and a short queue is empty before they come.`
}

/** What the pacing does not do: a lighter storm is not over as much sooner. */
function explainTail() {
  const clients = Math.ceil(fleet.clients * 0.6)
  const last = timeUntil(simulate(holdline(), { ...fleet, clients, model: 'refused' }), 0.99)
  return `Whoever is refused waits up to ${integer(holdline().delay(31, () => 1) ?? 0)} ms on its own, however few are left. So ${integer(clients)} clients, with a lower bound of ${seconds(bound * 0.6)} s, take
${seconds(last)} s, ${last === null ? '–' : (last / bound / 0.6).toFixed(2)} × as long.`
}

function describe(outcome: Outcome) {
  const { policy, attempts, gaveUp, back } = outcome
  const [half, most, last] = [0.5, 0.9, 0.99].map((part) => timeUntil(outcome, part)) as [number, number, number]
  const counts = [peak(outcome), attempts, gaveUp, fleet.clients - gaveUp - (back.at(-1) ?? 0)]
  return [policy, seconds(half), seconds(most), seconds(last), ratio(last), ...counts.map(integer)]
}

function printTable(rows: readonly (readonly string[])[]) {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  for (const row of rows)
    console.log(
      row.map((cell, column) => (column ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[0] ?? 0))).join('  '),
    )
}

function readArguments() {
  const option = { type: 'string' } as const
  try {
    const { values } = parseArgs({ options: { clients: option, rate: option, seed: option, model: option } })
    const { model, ...numbers } = values
    if (model !== undefined && !Object.hasOwn(MODELS, model)) throw new Error(`--model: there is no ${model}`)
    return {
      clients: readInteger('clients', numbers.clients, 1, 5_000_000),
      rate: readInteger('rate', numbers.rate, 1, 1_000_000),
      seed: readInteger('seed', numbers.seed, 0, 2 ** 32 - 1),
      models: (model ? [model] : Object.keys(MODELS)) as Model[],
    }
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`)
    process.exit(2)
  }
}

function readInteger(name: keyof typeof DEFAULTS, text: string | undefined, least: number, most: number) {
  if (text === undefined) return DEFAULTS[name]
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= least && value <= most) return value
  throw new Error(`--${name}: a whole number from ${least} to ${most}, not "${text}"`)
}
