import type { AnyActorRef } from 'xstate'
import type { OutboundMessage } from '../../connection/messages'
import type { ConnectionError } from '../../errors'
import { connectionMachine } from '../../machine/connectionMachine'
import type { JsonObject } from '../../protocol'
import { serverIsSilent } from '../harness/behaviours'
import { createHarness, type Harness, type HarnessOptions, type Told } from '../harness/harness'
import { watchInvariants } from '../oracle/invariants'
import type { Oracle } from '../oracle/oracle'
import type { World } from './moves/move'
import type { Step } from './plan'
import { type Deed, record } from './record'

export interface WalkOptions extends Pick<HarnessOptions, 'create' | 'seed'> {
  /**
   * What the server sends of a session, without `sessionId` and `seq`. Default `{ type: 'token' }`.
   */
  readonly event?: JsonObject
  /** What the app sends. Default: a `send`. */
  readonly message?: OutboundMessage
}

/** The options that every fresh connection is made with. */
export type Settings = Required<WalkOptions> & Pick<World, 'newSession'>

/** A step that was made. */
export interface Made {
  readonly step: Step<World>
  /** All that the machines did then, not only what the step is about. */
  readonly deeds: readonly Deed[]
  /** Why it is not what the definition says. */
  readonly stray: string | undefined
  readonly violations: readonly string[]
  readonly errors: readonly ConnectionError[]
}

/** A fresh connection goes along a path, as far as the path is right. */
export async function drive(
  { create, seed, ...means }: Settings,
  machine: string,
  path: readonly Step<World>[],
): Promise<readonly Made[]> {
  const harness = createHarness({ create, seed, server: serverIsSilent() })
  const { connection } = harness
  const ride: Ride = { harness, means, machine, oracle: watchInvariants(harness), deeds: record(rootOf(harness)) }
  if (connection.phase !== 'idle') connection.disconnect()
  if (machine !== connectionMachine.id) connection.connect()
  await harness.settles()

  const made: Made[] = []
  for (const step of path) {
    const one = await take(ride, step)
    made.push(one)
    if (one.stray) break
  }
  connection.dispose()
  return made
}

interface Ride {
  readonly harness: Harness
  readonly means: Omit<Settings, 'create' | 'seed'>
  /** The id of the machine that the path is about. */
  readonly machine: string
  readonly oracle: Oracle
  readonly deeds: readonly Deed[]
}

const rootOf = ({ connection }: Harness) => connection.actor as unknown as AnyActorRef

async function take({ harness, means, machine, oracle, deeds }: Ride, step: Step<World>): Promise<Made> {
  const { connection, told } = harness
  const { move, event: awaited, canBeCaused } = step
  const before = { deeds: deeds.length, told: told.length, violations: oracle.violations.length }
  const deed = () => deeds.slice(before.deeds).find((one) => one.machine === machine && one.event.type === awaited.type)
  const world: World = {
    ...means,
    harness,
    get context() {
      return connection.actor.getSnapshot().context
    },
    get hasHappened() {
      return !!deed()
    },
  }
  const root = rootOf(harness)
  const isOfConnection = machine === connectionMachine.id
  let thrown: string | undefined
  try {
    if (canBeCaused) await move.cause(world)
    else (isOfConnection ? root : root.getSnapshot().children.outbox).send(awaited)
  } catch (error) {
    thrown = `it threw ${error}`
  }
  await harness.settles()
  const news = told.slice(before.told)
  const violations = canBeCaused ? oracle.violations.slice(before.violations) : []
  return {
    step,
    deeds: deeds.slice(before.deeds),
    stray: thrown ?? strayOf(step, deed(), isOfConnection ? news : undefined),
    violations: violations.map(({ invariant, message }) => `${invariant}: ${message}`),
    errors: news.flatMap((one) => (one.name === 'error' && isOfTheApp(one.event.error) ? one.event.error : [])),
  }
}

/** Where a deed differs from its step. `news`: the public events, of the machine that has them. */
function strayOf({ event, from, takes, to }: Step<World>, did: Deed | undefined, news: readonly Told[] | undefined) {
  if (!did) return 'it never came'
  if (did.from !== from) return `it came in ${did.from}`
  if (`${did.takes}` !== `${takes}`) return `it took ${did.takes.join(', ') || 'nothing'}`
  if (did.to !== to) return `it led to ${did.to}`
  const isTold = news?.some((one) => one.name === 'refused' && one.event.event === event.type)
  return news && !takes.length && !isTold ? 'nobody was told that it was refused' : undefined
}

const isOfTheApp = ({ code }: ConnectionError) => code === 'listener-failed' || code === 'poison-message'
