import { byId } from './dom'

/** On a narrow page one part is shown at a time. */
export function bindPanes() {
  const buttons = [...byId('panes', 'nav').querySelectorAll('button')]
  for (const button of buttons) {
    button.addEventListener('click', () => {
      document.body.dataset.pane = button.dataset.pane
      for (const other of buttons) other.setAttribute('aria-pressed', String(other === button))
    })
  }
}

/** As the ARIA practices have it: Tab reaches the list of tabs, the arrow keys what is in it. */
export function bindTabs(list: HTMLElement) {
  const tabs = [...list.querySelectorAll<HTMLElement>('[role="tab"]')]
  const choose = (chosen: HTMLElement | undefined) => {
    if (!chosen) return
    for (const tab of tabs) {
      const isChosen = tab === chosen
      tab.setAttribute('aria-selected', String(isChosen))
      tab.tabIndex = isChosen ? 0 : -1
      const panel = document.getElementById(tab.getAttribute('aria-controls') ?? '')
      if (panel) panel.hidden = !isChosen
    }
  }
  for (const tab of tabs) tab.addEventListener('click', () => choose(tab))
  list.addEventListener('keydown', ({ key }) => {
    const by = key === 'ArrowRight' ? 1 : key === 'ArrowLeft' ? -1 : 0
    if (by === 0) return
    const next = tabs.at((tabs.indexOf(document.activeElement as HTMLElement) + by) % tabs.length)
    choose(next)
    next?.focus()
  })
}
