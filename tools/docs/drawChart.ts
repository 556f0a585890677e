import { type IState, type ITransition, render } from 'state-machine-cat'
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

/**
 * The statechart as SVG, from the machine's definition alone. A state is a `g.state[data-state]`,
 * an arrow a `g.arrow`; each transition is the `text[data-event][data-from][data-to]` at its arrow
 * or in its state (two, where its guard has a line of its own). Colours are the page's: there are
 * none.
 */
export async function drawChart(machine: AnyStateMachine): Promise<string> {
  const nodes = nodesOf(machine.root)
  const transitions = transitionsOf(machine)
  const arrows: Arrow[] = []
  const inside = new Map(nodes.map((node) => [node, [] as Transition[]]))
  for (const transition of transitions) {
    const { from, to } = transition
    const known = arrows.find((arrow) => arrow.from === from && arrow.to === to)
    if (known) known.transitions.push(transition)
    else if (to && deservesArrow(from, to, transitions)) arrows.push({ from, to, transitions: [transition] })
    else inside.get(from)?.push(transition)
  }
  const linesOf = (node: AnyStateNode) => stateLines(inside.get(node) ?? [])

  let edges = 0
  const edge = (from: string, to: string, kind: string, label = ''): ITransition => {
    edges += 1
    return { id: edges, from, to, class: kind, label }
  }
  const drawState = (node: AnyStateNode): IState => ({
    name: pathOf(node),
    label: node.key,
    type: 'regular',
    class: `n${nodes.indexOf(node)}`,
    actions: linesOf(node).map(({ text }) => ({ type: 'activity', body: text })),
    ...(isCompound(node) && { statemachine: drawInside(node) }),
  })
  const drawInside = (node: AnyStateNode) => {
    const children = Object.values(node.states).sort((a, b) => Number(isCompound(a)) - Number(isCompound(b)))
    const [initial, any] = [`${pathOf(node)} initial`, anyOf(node)]
    const hasAny = arrows.some(({ from, to }) => from === node && isInside(to, node))
    const isReached = (child: AnyStateNode) => {
      const earlier = children.slice(0, children.indexOf(child))
      return arrows.some(({ from, to }) => to === child && earlier.some((one) => from === one || isInside(from, one)))
    }
    return {
      states: [
        { name: initial, type: 'initial' as const },
        ...(hasAny ? [{ name: any, type: 'junction' as const, class: 'any' }] : []),
        ...children.map(drawState),
      ],
      transitions: [
        edge(initial, pathOf(node.initial.target[0] as AnyStateNode), 'initial'),
        // Never shown: it only makes the layout put states below each other in their order.
        ...children.flatMap((child, index) => {
          const before = children[index - 1]
          return before && !isReached(child) ? [edge(pathOf(before), pathOf(child), 'phantom')] : []
        }),
      ],
    }
  }
  const drawArrow = ({ from, to, transitions }: Arrow, index: number) => {
    const label = arrowLines(transitions).map(({ text }) => text)
    return edge(isInside(to, from) ? anyOf(from) : pathOf(from), pathOf(to), `e${index}`, label.join('\n'))
  }

  const { states, transitions: initial } = deservesBox(machine)
    ? { states: [drawState(machine.root)], transitions: [] }
    : drawInside(machine.root)
  const size = { name: 'fontsize', value: String(FONT_SIZE) }
  const svg = await render(
    { states, transitions: [...initial, ...arrows.map(drawArrow)] },
    {
      inputType: 'json',
      // The layout engine that comes along: `svg` would take another one where one is installed,
      // and draw differently.
      outputType: 'oldsvg',
      dotGraphAttrs: [FONT, size, { name: 'ranksep', value: '0.2' }, { name: 'nodesep', value: '0.3' }],
      dotNodeAttrs: [FONT, size],
      dotEdgeAttrs: [FONT, { name: 'fontsize', value: '18' }, { name: 'arrowsize', value: '1.2' }],
    },
  )

  const groups = [...svg.matchAll(/<g id="\w+" class="([^"]*)">\n<title>.*\n([\s\S]*?)\n<\/g>/g)].map(
    ([, kind, body]) => {
      const [, sort, number] = /\b([ne])(\d+)$/.exec(kind ?? '') ?? []
      const elements = (body ?? '').split('\n')
      const shapes = elements.filter((element) => !element.startsWith('<text')).map(bare)
      const texts = elements.filter((element) => element.startsWith('<text'))
      const node = sort === 'n' && nodes[Number(number)]
      const arrow = sort === 'e' && arrows[Number(number)]
      if (node) {
        const [name = '', ...rest] = texts
        const timers = transitions.filter(({ from, event }) => from === node && event.startsWith('after '))
        return [
          `<g class="state${isCompound(node) ? '' : ' leaf'}" data-state="${idOf(node)}"${list('timers', timers)}>`,
          // The other polygons only clear the ground.
          ...shapes.filter((shape) => !shape.startsWith('<polygon') || isRule(shape)),
          text(name, node.key, 'class="name"', (node.key.length * LETTER) / 2),
          ...rest.map((element, index) => transitionText(element, linesOf(node)[index])),
          '</g>',
        ]
      }
      if (arrow) {
        const lines = arrowLines(arrow.transitions)
        return [
          `<g class="arrow" data-from="${idOf(arrow.from)}" data-to="${idOf(arrow.to)}">`,
          ...shapes,
          ...texts.map((element, index) => transitionText(element, lines[index], ARROW_GAP)),
          '</g>',
        ]
      }
      if (kind?.includes('phantom')) return []
      return [`<g class="mark${kind?.endsWith(' any') ? ' any' : ''}">`, ...shapes, '</g>']
    },
  )
  const [viewBox] = /viewBox="[^"]*"/.exec(svg) ?? []
  const [transform] = /transform="[^"]*"/.exec(svg) ?? []
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="chart" ${viewBox} role="img" aria-label="The statechart of ${machine.id}">`,
    `<g ${transform}>`,
    ...groups.flat(),
    '</g>',
    '</svg>',
    '',
  ].join('\n')
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
