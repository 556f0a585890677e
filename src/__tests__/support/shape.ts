/**
 * What the types do not see in a machine's config. A misspelt key is ignored by XState, a misspelt
 * delay fires at once. The config is read as plain data: nothing here trusts its types.
 */
export interface Shape {
  readonly config: unknown
  readonly implementations: {
    readonly actions: object
    readonly actors: object
    readonly guards: object
    readonly delays: object
  }
}
export interface Expected {
  /** The event union, as a list. */
  readonly events: readonly string[]
  /** Every innermost state carries exactly one of these, itself or by its parents. */
  readonly tags?: readonly string[]
}

type Loose = Readonly<Record<string, unknown>>
type Path = readonly string[]
interface Node {
  readonly path: Path
  readonly config: Loose
  readonly parent: Node | undefined
}

const STATE = 'id initial states tags type entry exit invoke on always after onDone meta description'.split(' ')
// `setup()` itself puts `schemas` there.
const ROOT = [...STATE, 'context', 'output', 'version', 'schemas']
const TRANSITION = 'target guard actions reenter meta description'.split(' ')
const INVOKE = 'src id input onDone onError onSnapshot systemId'.split(' ')
const NAMED = ['type', 'params']
/** Builtins that hide control flow, or who talks to whom. */
const FORBIDDEN = ['xstate.spawnChild', 'xstate.stopChild', 'xstate.enqueueActions', 'xstate.raise']
/** What `sendParent` sends to. */
const PARENT = '#_parent'

const isRecord = (value: unknown): value is Loose =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const record = (value: unknown): Loose => (isRecord(value) ? value : {})
const list = (value: unknown): readonly unknown[] => (value === undefined ? [] : Array.isArray(value) ? value : [value])

/** One line per mistake; none for a machine in house style. */
export function shapeFaults({ config, implementations }: Shape, expected: Expected): readonly string[] {
  const faults: string[] = []
  const used = {
    actions: new Set<string>(),
    actors: new Set<string>(),
    guards: new Set<string>(),
    delays: new Set<string>(),
  }
  const handled = new Set<string>()
  const invoked = new Set<string>()
  const targets: { readonly at: string; readonly from: Node; readonly target: unknown }[] = []
  let eventless = 0

  const nodes: Node[] = []
  const collect = (path: Path, found: unknown, parent: Node | undefined) => {
    const node: Node = { path, config: record(found), parent }
    nodes.push(node)
    for (const [key, child] of Object.entries(record(node.config.states))) collect([...path, key], child, node)
  }
  collect([String(record(config).id ?? '(machine)')], config, undefined)

  const knowKeys = (at: string, found: Loose, known: readonly string[]) => {
    for (const key of Object.keys(found)) if (!known.includes(key)) faults.push(`${at}: unknown key "${key}"`)
  }

  /** An action or a guard: a name, or `{ type, params }` with a name. */
  const checkNamed = (at: string, kind: 'actions' | 'guards', found: unknown) => {
    const what = kind.slice(0, -1)
    if (typeof found === 'function') {
      const builtin = (found as { type?: unknown }).type
      faults.push(`${at}: inline ${what}${typeof builtin === 'string' ? ` ${builtin}` : ''}, give it a name`)
      return
    }
    const name = isRecord(found) ? found.type : found
    if (isRecord(found)) knowKeys(`${at} ${String(name)}`, found, NAMED)
    if (typeof name !== 'string' || !Object.hasOwn(implementations[kind], name)) {
      faults.push(`${at}: unknown ${what} "${String(name)}"`)
    } else used[kind].add(name)
  }
  const checkActions = (at: string, found: unknown) => {
    for (const action of list(found)) checkNamed(at, 'actions', action)
  }

  const checkTransitions = (at: string, from: Node, found: unknown) => {
    for (const transition of list(found)) {
      if (!isRecord(transition)) {
        faults.push(`${at}: a transition that is no object`)
        continue
      }
      knowKeys(at, transition, TRANSITION)
      checkActions(at, transition.actions)
      if (transition.guard !== undefined) checkNamed(at, 'guards', transition.guard)
      if (transition.target === undefined && transition.actions === undefined) faults.push(`${at}: does nothing`)
      for (const target of list(transition.target)) targets.push({ at, from, target })
    }
  }

  const checkInvoke = (at: string, from: Node, found: unknown) => {
    if (!isRecord(found)) {
      faults.push(`${at}: an invoke that is no object`)
      return
    }
    const { src, id } = found
    knowKeys(at, found, INVOKE)
    if (typeof src !== 'string' || !Object.hasOwn(implementations.actors, src)) {
      faults.push(`${at}: unknown actor "${String(src)}"`)
    } else used.actors.add(src)
    if (id !== src) faults.push(`${at}: the id of an actor is its src`)
    if (typeof id === 'string') invoked.add(id)
    if (found.onError === undefined) faults.push(`${at}: no onError`)
    for (const key of ['onDone', 'onError', 'onSnapshot']) checkTransitions(`${at} ${key}`, from, found[key])
  }

  for (const node of nodes) {
    const at = node.path.join('.')
    const { config: state } = node
    const children = Object.keys(record(state.states))
    knowKeys(at, state, node.parent ? STATE : ROOT)
    checkActions(`${at} entry`, state.entry)
    checkActions(`${at} exit`, state.exit)
    for (const invoke of list(state.invoke)) checkInvoke(`${at} invoke`, node, invoke)
    for (const [type, transition] of Object.entries(record(state.on))) {
      if (type.includes('*')) faults.push(`${at} on: wildcard "${type}"`)
      else if (type.startsWith('xstate.')) faults.push(`${at} on: literal "${type}"`)
      else if (!expected.events.includes(type)) faults.push(`${at} on: unknown event "${type}"`)
      handled.add(type)
      checkTransitions(`${at} on ${type}`, node, transition)
    }
    for (const [delay, transition] of Object.entries(record(state.after))) {
      if (Object.hasOwn(implementations.delays, delay)) used.delays.add(delay)
      else faults.push(`${at} after: unknown delay "${delay}", it would fire at once`)
      checkTransitions(`${at} after ${delay}`, node, transition)
    }
    eventless += list(state.always).length
    checkTransitions(`${at} always`, node, state.always)
    checkTransitions(`${at} onDone`, node, state.onDone)
    if (children.length > 0 && state.type !== 'parallel' && !children.includes(String(state.initial))) {
      faults.push(`${at}: initial "${String(state.initial)}" is no state of it`)
    }
    if (expected.tags && children.length === 0) {
      const tags: unknown[] = []
      for (let up: Node | undefined = node; up; up = up.parent) tags.push(...list(up.config.tags))
      const phases = expected.tags.filter((tag) => tags.includes(tag))
      if (phases.length !== 1) faults.push(`${at}: ${phases.length} phase tags`)
    }
  }
  if (eventless > 1) faults.push(`${eventless} eventless transitions, one is enough`)

  for (const { at, from, target } of targets) {
    if (typeof target !== 'string' || !resolves(nodes, from, target)) faults.push(`${at}: no state "${String(target)}"`)
  }

  for (const [name, action] of Object.entries(implementations.actions)) {
    const { type, to } = Object(action) as { type?: unknown; to?: unknown }
    if (typeof type === 'string' && FORBIDDEN.includes(type)) faults.push(`action ${name}: ${type}`)
    if (to === PARENT) faults.push(`action ${name}: sendParent`)
    else if (typeof to === 'string' && !invoked.has(to))
      faults.push(`action ${name}: sends to "${to}", which is not invoked`)
  }
  for (const kind of ['actions', 'actors', 'guards', 'delays'] as const) {
    for (const name of Object.keys(implementations[kind])) {
      if (!used[kind].has(name)) faults.push(`${kind}: "${name}" is never used`)
    }
  }
  for (const type of expected.events) if (!handled.has(type)) faults.push(`event "${type}" is handled nowhere`)
  return faults
}

/** `#id`, `#id.child`, `.child`, `sibling`, `sibling.child`. */
function resolves(nodes: readonly Node[], from: Node, target: string): boolean {
  const [head = '', ...rest] = target.split('.')
  const exists = (base: Node | undefined, keys: readonly string[]) => {
    const path = [...(base?.path ?? []), ...keys].join('.')
    return base !== undefined && nodes.some((node) => node.path.join('.') === path)
  }
  if (head.startsWith('#')) {
    const ids = (node: Node) => [node.config.id, node.path.join('.')]
    const base = nodes.find((node) => ids(node).includes(head.slice(1)))
    return exists(base, rest)
  }
  return head === '' ? exists(from, rest) : exists(from.parent, [head, ...rest])
}
