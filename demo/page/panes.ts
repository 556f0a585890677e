import { byId } from './dom'

export type Pane = 'chat' | 'chart' | 'record'

/** On a narrow page one part is shown at a time. Returns what shows one. */
export function bindPanes() {
  const buttons = [...byId('panes', 'nav').querySelectorAll('button')]
  const show = (pane: string) => {
    document.body.dataset.pane = pane
    for (const button of buttons) button.setAttribute('aria-pressed', String(button.dataset.pane === pane))
  }
  for (const button of buttons) button.addEventListener('click', () => show(button.dataset.pane ?? ''))
  return (pane: Pane) => show(pane)
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
