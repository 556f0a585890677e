import { type IRenderOptions, type IState, type ITransition, render } from 'state-machine-cat'
import type { AnyStateMachine, AnyStateNode } from 'xstate'
import { nodesOf, pathOf, type Transition, transitionsOf } from './transitions'

/**
 * Transitions between the same two states share an arrow; those that get none are told inside the
 * state that they leave.
 */
interface Arrow {
  readonly from: AnyStateNode
  readonly to: AnyStateNode
  readonly transitions: Transition[]
}

interface Line {
  readonly text: string
  /** None: the event that the guards below it belong to. */
  readonly transition?: Transition
}

/**
 * The layout knows how wide a letter of it is, and in every monospaced font it is about as wide.
 */
const FONT = { name: 'fontname', value: 'Courier' }
const FONT_SIZE = 20
const LETTER = 0.6 * FONT_SIZE
/** Between an arrow and its text. */
const ARROW_GAP = 6
/** For the countdown of a timer, behind its line. */
const ROOM = '\u00a0'.repeat(6)
const INDENT = '\u00a0\u00a0'

const SIZE = { name: 'fontsize', value: String(FONT_SIZE) }
const LAYOUT = {
  inputType: 'json',
  // The layout engine that comes along: `svg` would take another one where one is installed, and
  // draw differently.
  outputType: 'oldsvg',
  dotGraphAttrs: [FONT, SIZE, { name: 'ranksep', value: '0.2' }, { name: 'nodesep', value: '0.3' }],
  dotNodeAttrs: [FONT, SIZE],
  dotEdgeAttrs: [FONT, SIZE, { name: 'arrowsize', value: '1.2' }],
} satisfies IRenderOptions

/**
 * The statechart as SVG, from the machine's definition alone. A state is a `g.state[data-state]`,
 * an arrow a `g.arrow`; each transition is the `text[data-event][data-from][data-to]` at its arrow
 * or in its state (two, where its guard has a line of its own). Colours are the page's: there are
 * none.
 */
export async function drawChart(
  machine: AnyStateMachine,
  direction: 'top-down' | 'left-right' = 'top-down',
): Promise<string> {
  const drawing = new Drawing(machine)
  return drawing.dress(await render(drawing.graph(), { ...LAYOUT, direction }))
}

class Drawing {
  readonly #machine: AnyStateMachine
  readonly #nodes: readonly AnyStateNode[]
  readonly #transitions: readonly Transition[]
  readonly #arrows: Arrow[] = []
  /** What is told inside a state. */
  readonly #inside: ReadonlyMap<AnyStateNode, Transition[]>
  #edges = 0

  constructor(machine: AnyStateMachine) {
    this.#machine = machine
    this.#nodes = nodesOf(machine.root)
    this.#transitions = transitionsOf(machine)
    this.#inside = new Map(this.#nodes.map((node) => [node, []]))
    for (const transition of this.#transitions) {
      const { from, to } = transition
      const known = this.#arrows.find((arrow) => arrow.from === from && arrow.to === to)
      if (known) known.transitions.push(transition)
      else if (to && deservesArrow(from, to, this.#transitions))
        this.#arrows.push({ from, to, transitions: [transition] })
      else this.#inside.get(from)?.push(transition)
    }
  }

  /** For the layout. */
  graph() {
    const { root } = this.#machine
    const { states, transitions } = deservesBox(this.#machine)
      ? { states: [this.#drawState(root)], transitions: [] }
      : this.#drawInside(root)
    return {
      states,
      transitions: [...transitions, ...this.#arrows.map((arrow, index) => this.#drawArrow(arrow, index))],
    }
  }

  /** Makes of the layout's SVG the page's. */
  dress(svg: string): string {
    const groups = [...svg.matchAll(/<g id="\w+" class="([^"]*)">\n<title>.*\n([\s\S]*?)\n<\/g>/g)]
    const [viewBox] = /viewBox="[^"]*"/.exec(svg) ?? []
    const [transform] = /transform="[^"]*"/.exec(svg) ?? []
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" class="chart" ${viewBox} role="img" aria-label="The statechart of ${this.#machine.id}">`,
      `<g ${transform}>`,
      ...groups.flatMap(([, kind = '', body = '']) => this.#dressGroup(kind, body.split('\n'))),
      '</g>',
      '</svg>',
      '',
    ].join('\n')
  }

  #linesOf(node: AnyStateNode): readonly Line[] {
    return stateLines(this.#inside.get(node) ?? [])
  }

  #edge(from: string, to: string, kind: string, label = ''): ITransition {
    this.#edges += 1
    return { id: this.#edges, from, to, class: kind, label }
  }

  #drawState(node: AnyStateNode): IState {
    return {
      name: pathOf(node),
      label: node.key,
      type: 'regular',
      class: `n${this.#nodes.indexOf(node)}`,
      actions: this.#linesOf(node).map(({ text }) => ({ type: 'activity', body: text })),
      ...(isCompound(node) && { statemachine: this.#drawInside(node) }),
    }
  }

  #drawInside(node: AnyStateNode): { states: IState[]; transitions: ITransition[] } {
    const children = Object.values(node.states).sort((a, b) => Number(isCompound(a)) - Number(isCompound(b)))
    const [initial, any] = [`${pathOf(node)} initial`, anyOf(node)]
    const hasAny = this.#arrows.some(({ from, to }) => from === node && isInside(to, node))
    return {
      states: [
        { name: initial, type: 'initial' as const },
        ...(hasAny ? [{ name: any, type: 'junction' as const, class: 'any' }] : []),
        ...children.map((child) => this.#drawState(child)),
      ],
      transitions: [
        this.#edge(initial, pathOf(node.initial.target[0] as AnyStateNode), 'initial'),
        // Never shown: it only makes the layout put states below each other in their order.
        ...children.flatMap((child, index) => {
          const before = children[index - 1]
          const isReached = this.#isReached(child, children.slice(0, index))
          return before && !isReached ? [this.#edge(pathOf(before), pathOf(child), 'phantom')] : []
        }),
      ],
    }
  }

  #isReached(child: AnyStateNode, earlier: readonly AnyStateNode[]): boolean {
    return this.#arrows.some(
      ({ from, to }) => to === child && earlier.some((one) => from === one || isInside(from, one)),
    )
  }

  #drawArrow({ from, to, transitions }: Arrow, index: number): ITransition {
    const label = arrowLines(transitions).map(({ text }) => text)
    return this.#edge(isInside(to, from) ? anyOf(from) : pathOf(from), pathOf(to), `e${index}`, label.join('\n'))
  }

  #dressGroup(kind: string, elements: readonly string[]): readonly string[] {
    const [, sort, number] = /\b([ne])(\d+)$/.exec(kind) ?? []
    const shapes = elements.filter((element) => !element.startsWith('<text')).map(bare)
    const texts = elements.filter((element) => element.startsWith('<text'))
    const node = sort === 'n' && this.#nodes[Number(number)]
    const arrow = sort === 'e' && this.#arrows[Number(number)]
    if (node) return this.#dressState(node, shapes, texts)
    if (arrow) return dressArrow(arrow, shapes, texts)
    if (kind.includes('phantom')) return []
    return [`<g class="mark${kind.endsWith(' any') ? ' any' : ''}">`, ...shapes, '</g>']
  }

  #dressState(node: AnyStateNode, shapes: readonly string[], texts: readonly string[]): readonly string[] {
    const [name = '', ...rest] = texts
    const timers = this.#transitions.filter(({ from, event }) => from === node && event.startsWith('after '))
    const lines = this.#linesOf(node)
    return [
      `<g class="state${isCompound(node) ? '' : ' leaf'}" data-state="${idOf(node)}"${list('timers', timers)}>`,
      // The other polygons only clear the ground.
      ...shapes.filter((shape) => !shape.startsWith('<polygon') || isRule(shape)),
      text(name, node.key, 'class="name"', (node.key.length * LETTER) / 2),
      ...rest.map((element, index) => transitionText(element, lines[index])),
      '</g>',
    ]
  }
}

function dressArrow({ from, to, transitions }: Arrow, shapes: readonly string[], texts: readonly string[]) {
  const lines = arrowLines(transitions)
  return [
    `<g class="arrow" data-from="${idOf(from)}" data-to="${idOf(to)}">`,
    ...shapes,
    ...texts.map((element, index) => transitionText(element, lines[index], ARROW_GAP)),
    '</g>',
  ]
}

/** As in `data-state`: its path, '' for the machine itself. */
const idOf = (node: AnyStateNode) => node.path.join('.')
const isCompound = (node: AnyStateNode) => Object.keys(node.states).length > 0
const isInside = (node: AnyStateNode, outer: AnyStateNode): boolean =>
  node.parent !== undefined && (node.parent === outer || isInside(node.parent, outer))
/** Where the arrows begin that lead from anywhere in a state to a state in it. */
const anyOf = (node: AnyStateNode) => `${pathOf(node)} any`

/**
 * None to a state around it, and none where a state around it leads too: they would hide the chart
 * behind arrows.
 */
const deservesArrow = (from: AnyStateNode, to: AnyStateNode, transitions: readonly Transition[]) =>
  from !== to &&
  !isInside(from, to) &&
  !transitions.some((other) => other.to === to && isInside(from, other.from) && !isInside(to, other.from))

/** One that does nothing itself would only frame the picture. */
const deservesBox = ({ root }: AnyStateMachine) => root.transitions.size > 0

const roomOf = ({ event }: Transition) => (event.startsWith('after ') ? ROOM : '')
const guardOf = ({ guard }: Transition) => (guard ? [`[${guard}]`] : [])

/** An event with guards has a line of its own, and one for each guard. */
const stateLines = (transitions: readonly Transition[]): readonly Line[] =>
  transitions.flatMap((transition, index) => {
    const { event, guard, to, actions } = transition
    const end = to ? `→ ${to.key}` : `/ ${actions.join(', ')}`
    const isNext = transitions[index - 1]?.event === event
    if (!guard && !isNext) return [{ text: [event, end].join(' ') + roomOf(transition), transition }]
    const line = { text: INDENT + [...guardOf(transition), end].join(' '), transition }
    return isNext ? [line] : [{ text: event }, line]
  })

const arrowLines = (transitions: readonly Transition[]): readonly Line[] =>
  transitions.flatMap((transition) =>
    [transition.event + roomOf(transition), ...guardOf(transition)].map((text) => ({ text, transition })),
  )

// The SVG of the layout, with everything left out that a stylesheet can say.

const bare = (shape: string) => shape.replaceAll(/ (fill|fill-opacity|stroke|stroke-width)="[^"]*"/g, '')
/** The line under a name is a polygon without height. */
const isRule = (shape: string) => /^<polygon points="[^,]+,(\S+) [^,]+,\1 [^,]+,\1 /.test(shape)
const list = (name: string, transitions: readonly Transition[]) =>
  transitions.length ? ` data-${name}="${transitions.map(({ type }) => type).join(' ')}"` : ''

function text(element: string, content: string, attributes: string, shift = 0) {
  const [, x, y] = /x="([^"]*)" y="([^"]*)"/.exec(element) ?? []
  return `<text x="${(Number(x) + shift).toFixed(0)}" y="${y}"${attributes && ` ${attributes}`}>${escapeText(content.trimEnd())}</text>`
}

function transitionText(element: string, line: Line | undefined, shift = 0) {
  if (!line) throw new Error(`the layout has a text that nobody asked for: ${element}`)
  const { transition } = line
  const to = transition?.to && ` data-to="${idOf(transition.to)}"`
  const indent = line.text.startsWith(INDENT) ? INDENT.length * LETTER : 0
  const attributes = transition && `data-event="${transition.type}" data-from="${idOf(transition.from)}"${to ?? ''}`
  return text(element, line.text.trim(), attributes ?? '', indent + shift)
}

const escapeText = (content: string) => content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
