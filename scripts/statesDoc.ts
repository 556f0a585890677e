import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type AnyStateMachine, type AnyStateNode, initialTransition } from 'xstate'
import { connectionMachine } from '../src/machine/connectionMachine'
import { outboxMachine } from '../src/machine/outboxMachine'

const FILE = fileURLToPath(new URL('../docs/states.md', import.meta.url))
const marker = (name: string, part: 'begin' | 'end') => `<!-- ${part} generated: ${name} -->`

interface Row {
  readonly from: AnyStateNode
  readonly event: string
  readonly guard: string
  readonly to: AnyStateNode | undefined
  readonly actions: readonly string[]
}

const nodes = (node: AnyStateNode): AnyStateNode[] => [node, ...Object.values(node.states).flatMap(nodes)]
const nameOf = (thing: unknown) => (typeof thing === 'string' ? thing : ((thing as { type?: string })?.type ?? ''))
const path = (node: AnyStateNode) => node.path.join('.') || node.key

/** `xstate.after.connectTimeout.connection.active…` → `after connectTimeout`, and likewise for invoked actors. */
function eventName(type: string) {
  if (type === '') return 'always'
  const [, kind, name, actor] = type.split('.')
  if (!type.startsWith('xstate.')) return type
  return kind === 'after' ? `after ${name}` : `${actor} fails`
}

function rowsOf(machine: AnyStateMachine): Row[] {
  // The nodes work out their transitions when they are first asked to take one.
  initialTransition(machine, { backoff: {}, timeouts: {}, random: () => 0 })
  return nodes(machine.root).flatMap((from) => {
    const always = (from.always ?? []).map((transition) => ({ type: '', transition }))
    const others = [...from.transitions].flatMap(([type, list]) => list.map((transition) => ({ type, transition })))
    return [...others, ...always].map(({ type, transition }) => ({
      from,
      event: eventName(type),
      guard: nameOf(transition.guard),
      to: transition.target?.[0],
      actions: transition.actions.map(nameOf),
    }))
  })
}

export function transitionTable(machine: AnyStateMachine): string {
  const rows = rowsOf(machine).map(({ from, event, guard, to, actions }) =>
    [path(from), event, guard, to ? path(to) : '(stays)', actions.join(', ')].map((cell) =>
      cell ? `\`${cell}\`` : '',
    ),
  )
  return [
    '| in | event | if | to | actions |',
    '| --- | --- | --- | --- | --- |',
    ...rows.map((row) => `| ${row.join(' | ')} |`),
  ].join('\n')
}

export function mermaid(machine: AnyStateMachine): string {
  const id = (node: AnyStateNode) => node.path.join('_') || node.key
  const draw = (node: AnyStateNode, depth: number): string[] => {
    const pad = '  '.repeat(depth)
    const children = Object.values(node.states)
    if (children.length === 0) return [`${pad}state "${node.key}" as ${id(node)}`]
    const initial = node.initial?.target[0]
    return [
      ...(depth === 1 && node === machine.root ? [] : [`${pad}state "${node.key}" as ${id(node)} {`]),
      ...(initial ? [`${pad}  [*] --> ${id(initial)}`] : []),
      ...children.flatMap((child) => draw(child, depth + 1)),
      ...(depth === 1 && node === machine.root ? [] : [`${pad}}`]),
    ]
  }
  const edges = new Map<string, string[]>()
  for (const { from, event, guard, to } of rowsOf(machine)) {
    if (!to) continue
    const key = `${id(from)} --> ${id(to)}`
    edges.set(key, [...(edges.get(key) ?? []), guard ? `${event} [${guard}]` : event])
  }
  const arrows = [...edges].map(([key, labels]) => `  ${key}: ${labels.join('<br/>')}`)
  return ['```mermaid', 'stateDiagram-v2', ...draw(machine.root, 1), ...arrows, '```'].join('\n')
}

const SECTIONS: Readonly<Record<string, () => string>> = {
  'connection diagram': () => mermaid(connectionMachine),
  'connection transitions': () => transitionTable(connectionMachine),
  'outbox diagram': () => mermaid(outboxMachine),
  'outbox transitions': () => transitionTable(outboxMachine),
}

/** The document with its generated parts made anew. */
export function generate(document: string): string {
  return Object.entries(SECTIONS).reduce((text, [name, make]) => {
    const [begin, end] = [marker(name, 'begin'), marker(name, 'end')]
    const [before, rest] = text.split(begin)
    const after = rest?.split(end)[1]
    if (before === undefined || after === undefined) throw new Error(`docs/states.md has no section "${name}"`)
    return `${before}${begin}\n\n${make()}\n\n${end}${after}`
  }, document)
}

export const readDocument = () => readFileSync(FILE, 'utf8')

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(FILE, generate(readDocument()))
