import type { Model, Outcome } from './simulate'

export interface Scene {
  readonly clients: number
  readonly rate: number
  readonly runs: readonly { readonly model: Model; readonly outcomes: readonly Outcome[] }[]
}

/** What is shown of it, s; a second is two units wide. */
const SHOWN = 180
const PANEL = { width: 2 * SHOWN, height: 190, left: 62, top: 96, dx: 430, dy: 264 }
/** What is drawn of the offered attempts, per second. */
const RANGE = { least: 100, most: 2_000_000 }

const STYLE = `
:root { --ink: #1c1f1e; --soft: #565c59; --line: #d3d6d4; --ground: #ffffff; --c0: #0b6e4f; --c1: #1f6feb; --c2: #b4510a; --c3: #8a3fc7; --c4: #6b7280 }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebe9; --soft: #9da6a2; --line: #343b38; --ground: #0d1117; --c0: #3fce9b; --c1: #79b8ff; --c2: #ffa657; --c3: #d2a8ff; --c4: #a3abb5 } }
svg { background: var(--ground); fill: var(--ink); font: 13px ui-sans-serif, system-ui, sans-serif }
path { fill: none; stroke-width: 1.3; stroke-linejoin: round }
.grid { stroke: var(--line); stroke-width: 1 }
.limit { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 6 4 }
.soft { fill: var(--soft); font-size: 12px }
.end { text-anchor: end }
.middle { text-anchor: middle }
.title { font-size: 15px; font-weight: 600 }
${[0, 1, 2, 3, 4].map((color) => `.c${color} { stroke: var(--c${color}) }`).join('\n')}
.c0, .c1 { stroke-width: 2.5 }`

const text = (x: number, y: number, label: string, className: string) =>
  `<text x="${x}" y="${Math.round(y)}" class="${className}">${label}</text>`
const line = (className: string, d: string) => `<path class="${className}" d="${d}"/>`

const onLogScale = (value: number) =>
  PANEL.height * (1 - Math.log(Math.max(value, RANGE.least) / RANGE.least) / Math.log(RANGE.most / RANGE.least))
const onShareScale = (share: number) => PANEL.height * (1 - share)

/**
 * One value each second, without the points that lie on the line anyway, nor what is level with the
 * floor.
 */
function curve(className: string, values: readonly number[]) {
  const heights = values.slice(0, SHOWN + 1).map((value) => Math.round(value * 10) / 10)
  let d = ''
  let isPenUp = true
  for (const [second, y] of heights.entries()) {
    const before = heights[second - 1] ?? PANEL.height
    const after = heights[second + 1] ?? PANEL.height
    if (y === PANEL.height && before === y && after === y) isPenUp = true
    else if (isPenUp || y !== before || y !== after) {
      d += `${isPenUp ? 'M' : ' '}${2 * second},${y}`
      isPenUp = false
    }
  }
  return line(className, d)
}

interface Panel {
  readonly row: number
  readonly title: string
  readonly scale: (value: number) => number
  readonly ticks: Readonly<Record<string, number>>
  readonly limit: string
  readonly curves: readonly (readonly number[])[]
}

function drawPanel({ row, title, scale, ticks, limit, curves }: Panel, column: number) {
  const origin = `translate(${PANEL.left + column * PANEL.dx} ${PANEL.top + row * PANEL.dy})`
  const levels = Object.entries(ticks).map(
    ([label, value]) =>
      line('grid', `M0,${scale(value).toFixed(1)}h${PANEL.width}`) + text(-8, scale(value) + 4, label, 'soft end'),
  )
  const times = [0, 30, 60, 90, 120, 150, 180].map((second) =>
    text(2 * second, PANEL.height + 18, `${second} s`, 'soft middle'),
  )
  // The first curve is on top.
  const drawn = curves.map((values, color) => curve(`c${color}`, values.map(scale))).reverse()
  return `<g transform="${origin}">${[text(0, -12, title, 'title'), ...levels, ...times, ...drawn, line('limit', limit)].join('\n')}</g>`
}

/**
 * The attempts that the fleet is offered, and the share of the clients that is back, over time, for
 * each model.
 */
export function draw({ clients, rate, runs }: Scene): string {
  const panels = runs.flatMap(({ model, outcomes }, column) => [
    drawPanel(
      {
        row: 0,
        title: `${model}: attempts offered per second`,
        scale: onLogScale,
        ticks: { 100: 100, '1 k': 1e3, '10 k': 1e4, '100 k': 1e5, '1 M': 1e6 },
        limit: `M0,${onLogScale(rate).toFixed(1)}h${PANEL.width}`,
        curves: outcomes.map(({ offered }) => offered),
      },
      column,
    ),
    drawPanel(
      {
        row: 1,
        title: `${model}: share of the clients back`,
        scale: onShareScale,
        ticks: { '0 %': 0, '50 %': 0.5, '90 %': 0.9, '100 %': 1 },
        limit: `M0,${PANEL.height}L${(2 * clients) / rate},0`,
        curves: outcomes.map(({ back }) =>
          Array.from({ length: SHOWN + 1 }, (_, second) =>
            second ? (back[second - 1] ?? back.at(-1) ?? 0) / clients : 0,
          ),
        ),
      },
      column,
    ),
  ])
  const legend = runs[0]?.outcomes.map(
    ({ policy }, color) =>
      line(`c${color}`, `M${PANEL.left + color * 160},52h22`) + text(PANEL.left + 28 + color * 160, 56, policy, 'name'),
  )
  const title = `${clients.toLocaleString('en')} clients dropped at once; dashed: ${rate.toLocaleString('en')} accepted per second`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 590" role="img" aria-label="${title}">
<style>${STYLE}
</style>
${[text(PANEL.left, 28, title, 'title'), ...(legend ?? []), ...panels].join('\n')}
</svg>
`
}
