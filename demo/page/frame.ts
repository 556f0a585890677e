import { byId } from './dom'

/** What the charts stand in. They fit into it, or, zoomed, are followed to what is lit. */
export function createFrame() {
  const frame = byId('frame', 'div')
  const button = byId('zoom', 'button')
  const [connection, outbox] = [...frame.querySelectorAll('svg')] as [SVGSVGElement, SVGSVGElement]
  embed(outbox, connection)
  // Safari does not let the keyboard reach what scrolls by itself.
  frame.tabIndex = 0

  const zoom = (isZoomed: boolean) => {
    document.body.classList.toggle('zoomed', isZoomed)
    button.setAttribute('aria-pressed', String(isZoomed))
    follow()
  }
  const follow = () => {
    const lit = [...connection.querySelectorAll('.lit.leaf')].find((state) => state.closest('svg') === connection)
    if (!lit || frame.scrollWidth <= frame.clientWidth) return
    const [outer, inner] = [frame.getBoundingClientRect(), lit.getBoundingClientRect()]
    frame.scrollBy(
      inner.left + inner.width / 2 - outer.left - outer.width / 2,
      inner.top + inner.height / 2 - outer.top - outer.height / 2,
    )
  }
  button.addEventListener('click', () => zoom(button.getAttribute('aria-pressed') === 'false'))
  // All of it would be too small to read on a phone.
  zoom(matchMedia('(max-width: 960px)').matches)
  // On a narrow page it may not be in sight at first.
  new ResizeObserver(follow).observe(frame)

  return { frame, connection, outbox, follow }
}

/** Below `backoff` there is room in the state that invokes the outbox. */
function embed(outbox: SVGSVGElement, connection: SVGSVGElement) {
  const above = connection.querySelector<SVGGElement>('[data-state="active.backoff"]')?.getBBox()
  if (!above) return
  const { width, height } = outbox.viewBox.baseVal
  const box = { x: above.x, y: above.y + above.height + 90, width: above.width, height: (height * above.width) / width }
  for (const [name, value] of Object.entries(box)) outbox.setAttribute(name, String(value))
  connection.firstElementChild?.append(outbox)
}
