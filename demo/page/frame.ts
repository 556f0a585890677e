import { byId } from './dom'

/** px for a unit of the charts: their texts, of 20 units, are 12.4 px high. */
const SCALE = 0.62
/** What is shown around the state that the chart is in, px. */
const MARGIN = 40

/**
 * What the charts stand in. They are as large as it takes to read them: the big one is moved to
 * what is lit, or by hand. As a whole it shows the names of its states only, and these as large.
 */
export function createFrame() {
  const frame = byId('frame', 'div')
  const button = byId('whole', 'button')
  const [connection, outbox] = ['#frame > svg', '#outbox > svg'].map((path) => document.querySelector(path)) as [
    SVGSVGElement,
    SVGSVGElement,
  ]
  for (const svg of [connection, outbox]) svg.style.setProperty('--width', `${svg.viewBox.baseVal.width * SCALE}px`)
  // Safari does not let the keyboard reach what scrolls by itself.
  for (const element of [frame, byId('outbox', 'figure')]) element.tabIndex = 0

  const follow = () => {
    const lit = connection.querySelector('.lit.leaf')
    if (!lit) return
    const [outer, inner] = [frame.getBoundingClientRect(), lit.getBoundingClientRect()]
    const isBeside = isOutside(inner.left - outer.left, outer.right - inner.right)
    const isAbove = isOutside(inner.top - outer.top, outer.bottom - inner.bottom)
    if (!isBeside && !isAbove) return
    const x = inner.left + inner.width / 2 - outer.left - outer.width / 2
    const y = inner.top + inner.height / 2 - outer.top - outer.height / 2
    frame.scrollBy(isBeside ? x : 0, isAbove ? y : 0)
  }
  const measure = () => {
    const { width, height } = connection.viewBox.baseVal
    const unit = Math.max(width / frame.clientWidth, height / frame.clientHeight)
    if (Number.isFinite(unit)) connection.style.setProperty('--unit', String(unit))
    follow()
  }
  button.addEventListener('click', () => {
    const isWhole = document.body.classList.toggle('whole')
    button.setAttribute('aria-pressed', String(isWhole))
    measure()
  })
  const beside = byId('beside', 'button')
  beside.addEventListener('click', () => {
    const isShown = byId('stage', 'section').classList.toggle('beside')
    beside.setAttribute('aria-pressed', String(isShown))
  })
  // On a narrow page it may not be in sight at first.
  new ResizeObserver(measure).observe(frame)
  bindHand(frame)

  return { connection, outbox, follow }
}

/** By how much it is inside, at either end. */
const isOutside = (before: number, after: number) => Math.min(before, after) < MARGIN

/** A mouse takes hold of it. A finger does so by itself. */
function bindHand(frame: HTMLElement) {
  frame.addEventListener('pointerdown', ({ pointerId, pointerType, button }) => {
    if (pointerType !== 'mouse' || button !== 0) return
    frame.setPointerCapture(pointerId)
    frame.classList.add('held')
  })
  frame.addEventListener('pointermove', ({ pointerId, movementX, movementY }) => {
    if (frame.hasPointerCapture(pointerId)) frame.scrollBy({ left: -movementX, top: -movementY, behavior: 'instant' })
  })
  frame.addEventListener('lostpointercapture', () => frame.classList.remove('held'))
}
