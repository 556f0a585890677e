import { type AnyActor, type AnyEventObject, type AnyStateNode, type InspectionEvent, StateMachine } from 'xstate'
import { ConnectionError } from '../errors'
import { connectionMachine } from '../machine/connectionMachine'
import { outboxMachine } from '../machine/outboxMachine'
import type { ConnectionContext, ConnectionEvent, OutboxEvent } from '../machine/types'
import { FEATURES } from '../protocol'
import { tabMachine } from '../tabs/tabMachine'
import type { TabContext, TabEvent } from '../tabs/types'

/** What the inspector sends: plain data, in the format of `@statelyai/inspect` 0.7. */
export interface InspectorEvent {
  readonly type: '@xstate.actor' | '@xstate.event' | '@xstate.snapshot'
  readonly sessionId: string
  readonly rootId: string
  /** When it happened, ms since the epoch. */
  readonly createdAt: string
  readonly id: null
  readonly _version: string
  /** Of an actor. */
  readonly name?: string
  /** Of an actor: the chart, as JSON. */
  readonly definition?: string
  readonly parentId?: string | undefined
  /** Of an event. */
  readonly sourceId?: string | undefined
  readonly event?: AnyEventObject
  readonly snapshot?: object
}

/** The version whose format this is. Receivers take no event without one. */
const VERSION = '0.7.2'
const REDACTED = '[redacted]'

// What leaves is built from shapes, never copied and then cleaned: what no shape names stays here,
// also in fields to come.
type Shape = (value: unknown) => unknown

const text: Shape = (value) => (typeof value === 'string' ? value : undefined)
const flag: Shape = (value) => (typeof value === 'boolean' ? value : undefined)
const number: Shape = (value) => (typeof value === 'number' || value === null ? value : undefined)
/** That there is something, and how many. */
const hidden: Shape = (value) =>
  Array.isArray(value) ? `${REDACTED} × ${value.length}` : value == null ? value : REDACTED
const listOf =
  (shape: Shape): Shape =>
  (value) =>
    Array.isArray(value) ? value.map(shape) : shape(value)
const recordOf =
  (shape: Shape): Shape =>
  (value) =>
    isObject(value) ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, shape(item)])) : undefined
const fields = (shapes: Readonly<Record<string, Shape>>): Shape => {
  const entries = Object.entries(shapes)
  return (value) =>
    isObject(value)
      ? Object.fromEntries(entries.flatMap(([key, shape]) => (key in value ? [[key, shape(value[key])]] : [])))
      : undefined
}
const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

// The chart is code: its names leave. What stands in it as data (`context`, `input`, `params`,
// `output`, `meta`) does not.
const named: Shape = (value) =>
  typeof value === 'function' ? { type: value.name } : isObject(value) ? { type: text(value.type) } : text(value)
const actions = listOf(named)
const transitionFields = fields({ target: listOf(text), guard: named, actions, reenter: flag })
const transitions = listOf((value) => (isObject(value) ? transitionFields(value) : text(value)))
const invocation = fields({ src: text, id: text, onDone: transitions, onError: transitions, onSnapshot: transitions })
const stateNode: Shape = (value) => stateNodeFields(value)
const stateNodeFields = fields({
  id: text,
  type: text,
  initial: transitions,
  history: text,
  target: text,
  tags: listOf(text),
  entry: actions,
  exit: actions,
  invoke: listOf(invocation),
  on: recordOf(transitions),
  after: recordOf(transitions),
  always: transitions,
  onDone: transitions,
  states: recordOf(stateNode),
})

const failure: Shape = (error) =>
  error instanceof ConnectionError
    ? fields({ code: text, status: number, retryable: flag, retryAfter: number })(error)
    : hidden(error)
const serverDelay = fields({ retryAfter: number, spread: number })
const features: Shape = (value) => FEATURES.filter((feature) => Array.isArray(value) && value.includes(feature))

const contextFields = fields({
  attempt: number,
  delay: number,
  retryAt: number,
  serverDelay,
  connectionId: hidden,
  heartbeat: number,
  features,
  cursors: hidden,
  resumes: number,
  resumeId: hidden,
  fruitless: number,
  flaps: number,
  probes: number,
  lastError: failure,
} satisfies Partial<Record<keyof ConnectionContext, Shape>>)

// The name of a tab is drawn at random, for each connection.
const tabContextFields = fields({
  tab: text,
  leader: text,
  standing: text,
  term: number,
  line: hidden,
  stream: text,
  stolenAt: number,
  heir: text,
} satisfies Partial<Record<keyof TabContext, Shape>>)

type FieldOf<Event> = Event extends unknown ? Exclude<keyof Event, 'type'> : never

const eventFields = fields({
  awayFor: number,
  connectionId: hidden,
  heartbeat: number,
  features,
  cursors: hidden,
  leftOvers: hidden,
  isByServer: flag,
  resumeId: hidden,
  nonce: hidden,
  delay: (value) => (isObject(value) ? serverDelay(value) : number(value)),
  error: failure,
} satisfies Record<FieldOf<ConnectionEvent | OutboxEvent>, Shape>)

interface Chart {
  readonly definition: string
  readonly id: string
  /**
   * Of its invocations, also of those that are called after their place, as in `0.machine.state`.
   */
  readonly invoked: ReadonlySet<string>
}
const charts = new WeakMap<object, Chart>()

/** What an actor is, as far as that is code. Logic that is no machine has no chart. */
function chartOf({ logic }: AnyActor): Chart | undefined {
  if (!(logic instanceof StateMachine)) return undefined
  const { config } = logic
  const known = charts.get(config)
  if (known) return known
  const definition = JSON.stringify(stateNode({ ...config, id: logic.id }))
  const nodes: AnyStateNode[] = [logic.root]
  for (const node of nodes) nodes.push(...Object.values(node.states))
  const invoked = new Set(nodes.flatMap(({ invoke }) => invoke.map(({ id }) => id)))
  const chart = { definition, id: logic.id, invoked }
  charts.set(config, chart)
  return chart
}

const tabEventFields = fields({
  tab: text,
  term: number,
  standing: text,
  line: hidden,
  fitness: text,
  error: failure,
} satisfies Record<FieldOf<TabEvent>, Shape>)

/** What leaves of the machines of this package, by their charts. */
const OURS = new Map<unknown, { readonly context: Shape; readonly event: Shape }>([
  [connectionMachine.config, { context: contextFields, event: eventFields }],
  [outboxMachine.config, { context: contextFields, event: eventFields }],
  [tabMachine.config, { context: tabContextFields, event: tabEventFields }],
])
const shapesOf = ({ logic }: AnyActor) => (logic instanceof StateMachine ? OURS.get(logic.config) : undefined)

/**
 * The ids of actors that were spawned are data (of sessions, for instance), but those of
 * invocations are in the chart.
 */
const eventType = (type: string, chart: Chart | undefined) =>
  type.replace(
    /^(xstate\.(?:done\.actor|error\.actor|snapshot)\.)(.*)$/s,
    (_, kind: string, id: string) => kind + (chart?.invoked.has(id) ? id : REDACTED),
  )

function eventOf(event: AnyEventObject, actor: AnyActor): AnyEventObject {
  return { ...(shapesOf(actor)?.event(event) as object | undefined), type: eventType(event.type, chartOf(actor)) }
}

const STATUSES = ['active', 'done', 'error', 'stopped']

function snapshotOf(snapshot: Readonly<Record<string, unknown>>, actor: AnyActor): object {
  return {
    status: STATUSES.find((status) => status === snapshot.status),
    // Of a machine that has started. XState computes both from the chart.
    ...(chartOf(actor) && 'tags' in snapshot && { value: snapshot.value, tags: [...(snapshot.tags as Set<string>)] }),
    context: (shapesOf(actor)?.context ?? hidden)(snapshot.context),
    output: hidden(snapshot.output),
    error: failure(snapshot.error),
  }
}

/**
 * What may be told of an inspection event of XState; nothing, where the Stately inspector has no
 * use for it.
 */
export function redact(inspection: InspectionEvent): InspectorEvent | undefined {
  const { type, rootId } = inspection
  const actor = inspection.actorRef as AnyActor
  const base = { sessionId: actor.sessionId, rootId, createdAt: `${Date.now()}`, id: null, _version: VERSION }
  switch (type) {
    case '@xstate.actor': {
      const chart = chartOf(actor)
      // The name of an actor's logic is code, its id may be data.
      const name = typeof actor.src === 'string' ? actor.src : (chart?.id ?? REDACTED)
      const definition = chart?.definition ?? JSON.stringify({ id: name })
      // It is being made: its first snapshot comes when it starts.
      return { type, ...base, name, definition, parentId: actor._parent?.sessionId, snapshot: { status: 'active' } }
    }
    case '@xstate.event': {
      const sourceId = inspection.sourceRef?.sessionId
      return { type, ...base, sourceId, event: eventOf(inspection.event, actor) }
    }
    case '@xstate.snapshot':
      return {
        type,
        ...base,
        event: eventOf(inspection.event, actor),
        snapshot: snapshotOf({ ...inspection.snapshot }, actor),
      }
  }
  return undefined
}
