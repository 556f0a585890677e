import { byId, h, setText } from './dom'
import { createRowList, type Row, type RowHandlers, tickTools } from './rowView'

export interface ChatHandlers extends RowHandlers {
  stop(): void
}

const SUGGESTIONS = ['How do you hold the line?', 'Please run a tool', 'Tell me a long story']

export function createChatView(handlers: ChatHandlers) {
  const scroller = byId('scroller', 'section')
  const announce = createAnnouncer()
  const stop = byId('stop', 'button')
  const notice = byId('notice', 'div')
  const list = byId('rows', 'ol')
  const renderRows = createRowList(list, handlers)
  let sticks = true
  let top = 0

  // Safari does not let the keyboard reach what scrolls by itself.
  scroller.tabIndex = 0
  bindComposer(handlers)
  stop.addEventListener('click', () => handlers.stop())
  byId('notice-close', 'button').addEventListener('click', () => {
    notice.hidden = true
  })
  scroller.addEventListener('scroll', () => {
    const isUp = scroller.scrollTop < top
    top = scroller.scrollTop
    // Its size may have changed meanwhile: only whoever scrolls up leaves the end.
    sticks = scroller.scrollHeight - top - scroller.clientHeight < 60 || (sticks && !isUp)
  })
  new ResizeObserver(() => stick()).observe(scroller)

  function stick() {
    // The welcome alone is read from its beginning.
    if (sticks && list.childElementCount > 0) scroller.scrollTo({ top: scroller.scrollHeight })
  }

  setInterval(tickTools, 100)

  return {
    render(rows: readonly Row[]) {
      renderRows(rows)
      const current = rows.find((row) => row.kind === 'turn' && row.turn?.status === 'answering')?.key
      stop.hidden = current === undefined
      announce(current)
      tickTools()
      stick()
    },
    notify(text: string) {
      setText(byId('notice-text', 'p'), text)
      notice.hidden = false
    },
    clearNotice() {
      notice.hidden = true
    },
    scrollToEnd() {
      sticks = true
    },
    scrollToWelcome() {
      sticks = false
      scroller.scrollTo({ top: 0 })
    },
  }
}

/** A screen reader is told that an answer is complete, not each of its tokens. */
function createAnnouncer() {
  const announcer = byId('announcer', 'p')
  let answering: string | undefined
  return (current: string | undefined) => {
    if (answering && answering !== current) setText(announcer, 'The agent has finished its answer.')
    if (current && answering !== current) setText(announcer, 'The agent is answering.')
    answering = current
  }
}

function bindComposer({ send }: ChatHandlers) {
  const form = byId('composer', 'form')
  const prompt = byId('prompt', 'textarea')
  const grow = () => {
    prompt.style.height = 'auto'
    prompt.style.height = `${prompt.scrollHeight}px`
  }
  prompt.addEventListener('input', grow)
  prompt.addEventListener('keydown', (event) => {
    // Enter also ends the composition of a Chinese or Japanese word.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    form.requestSubmit()
  })
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    if (prompt.value.trim() === '') return
    send(prompt.value)
    prompt.value = ''
    grow()
  })
  byId('chips', 'div').append(
    ...SUGGESTIONS.map((text) => h('button', { type: 'button', class: 'chip', onclick: () => send(text) }, text)),
  )
  prompt.focus({ preventScroll: true })
}
