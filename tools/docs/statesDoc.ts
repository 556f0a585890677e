import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { AnyStateMachine, AnyStateNode } from 'xstate'
import { connectionMachine } from '../../src/machine/connectionMachine'
import { outboxMachine } from '../../src/machine/outboxMachine'
import { tabMachine } from '../../src/tabs/tabMachine'
import { drawChart } from './drawChart'
import { pathOf, transitionsOf } from './transitions'

const file = (name: string) => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url))
const marker = (name: string, part: 'begin' | 'end') => `<!-- ${part} generated: ${name} -->`

export function transitionTable(machine: AnyStateMachine): string {
  const rows = transitionsOf(machine).map(({ from, event, guard, to, actions }) =>
    [pathOf(from), event, guard, to ? pathOf(to) : '(stays)', actions.join(', ')].map((cell) =>
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
  for (const { from, event, guard, to } of transitionsOf(machine)) {
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
  'tabs diagram': () => mermaid(tabMachine),
  'tabs transitions': () => transitionTable(tabMachine),
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

const STYLE = `
:root { --ink: #1c1f1e; --soft: #565c59; --line: #8a908d; --leaf: #f4f3ef; --ground: #ffffff }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebe9; --soft: #9da6a2; --line: #767e7a; --leaf: #202524; --ground: #0d1117 } }
svg { background: var(--ground); fill: var(--ink); font: 20px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace }
path { fill: none; stroke: var(--line); stroke-width: 2 }
.mark, .arrow polygon { fill: var(--line) }
.mark.any ellipse { fill: var(--ground); stroke: var(--line); stroke-width: 2 }
.state path { stroke: var(--soft); stroke-width: 2.5 }
.leaf path { fill: var(--leaf) }
.state polygon { stroke: var(--line) }
.name { font-size: 24px; font-weight: 600; text-anchor: middle }
.arrow text { font-size: 20px; fill: var(--soft); paint-order: stroke; stroke: var(--ground); stroke-width: 6 }
`

/** The chart as a picture of its own, readable on light and on dark ground. */
export async function picture(): Promise<string> {
  const svg = await drawChart(connectionMachine)
  return svg.replace('\n', `\n<style>${STYLE}</style>\n`)
}

export const readDocument = (name = 'states.md') => readFileSync(file(name), 'utf8')

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(file('states.md'), generate(readDocument()))
  writeFileSync(file('states.svg'), await picture())
}
