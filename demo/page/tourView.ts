import { byId, setText } from './dom'
import { advance, enter, type Fact, leave, restore, STEPS, type StepName, save, type Tour } from './tour'

export interface TourHandlers {
  /** Does a step for the user. Resolves when its part is done. */
  perform(step: StepName): Promise<unknown>
  /** Of what was counted. */
  sum(): string
  /** To be kept. */
  store(json: string): void
}

interface Words {
  readonly title: string
  readonly text: string
  /** On the button that does it. */
  readonly action: string
  /** What has happened, once it is done. */
  readonly outcome: string
}

const WORDS: Record<StepName, Words> = {
  cut: {
    title: 'Cut the line while it types',
    text: 'Ask for a long story and, while it is told, press “Drop the stream”. Watch the last words.',
    action: 'Ask, and cut the line',
    outcome: 'The line was cut, and the text went on behind its last word: the page asked for what came after it.',
  },
  write: {
    title: 'Write while it is down',
    text: 'Drop the stream or disconnect, and send a message before the line is back.',
    action: 'Cut it, and write',
    outcome: 'Your message waited, left when the line was proved to be up, and was accepted.',
  },
  restart: {
    title: 'Restart the server',
    text: 'This server keeps its sessions in memory, so it loses them. Look at what the page says of each message.',
    action: 'Restart the server',
    outcome: 'The page is connected to the new server, and has told what the old one has lost.',
  },
  trace: {
    title: 'Look at the trace',
    text: 'Each step of the machine is in the timeline. Choose one, or move the slider: the chart shows that moment.',
    action: 'Show the last loss',
    outcome: 'The chart shows that moment. “Live” leads back.',
  },
}

/** The tour, in a panel that stays where it is while the page is used. */
export function createTourView(kept: string | null, handlers: TourHandlers) {
  const panel = byId('tour', 'section')
  const title = byId('tour-title', 'h2')
  const perform = byId('tour-do', 'button')
  const exit = byId('tour-leave', 'button')
  const entries = [byId('tour-open', 'button'), byId('tour-start', 'button')]
  let tour = restore(kept)
  let state: 'ready' | 'performing' = 'ready'

  for (const entry of entries) {
    entry.addEventListener('click', () => {
      change(enter(tour))
      // The next thing to read.
      title.focus()
    })
  }
  exit.addEventListener('click', () => {
    change(leave(tour))
    panel.hidden = true
    // On a narrow page it is seen beside the chat alone.
    const ways = ['#tour-open', '#panes [aria-pressed="true"]'].map((path) => document.querySelector<HTMLElement>(path))
    ways.find((way) => way?.checkVisibility())?.focus()
  })
  perform.addEventListener('click', async () => {
    const step = STEPS[tour.done]
    if (!step) return change(enter(tour))
    if (state === 'performing') return
    state = 'performing'
    render()
    await handlers.perform(step)
    state = 'ready'
    render()
  })

  function change(next: Tour) {
    if (next === tour) return
    const isOther = next.state !== tour.state || next.done !== tour.done
    tour = next
    if (!isOther) return
    handlers.store(save(tour))
    panel.hidden = tour.state !== 'running' && tour.state !== 'finished'
    render()
    setText(byId('tour-status', 'p'), panel.hidden ? '' : [told(tour), headingOf(tour)].filter(Boolean).join(' '))
  }

  function render() {
    showTour(tour, handlers.sum)
    perform.setAttribute('aria-disabled', String(state === 'performing'))
    for (const entry of entries) setText(entry, inviting(tour))
  }

  panel.hidden = tour.state !== 'running'
  render()
  return (fact: Fact) => change(advance(tour, fact))
}

function showTour(tour: Tour, sum: () => string) {
  const step = STEPS[tour.done]
  const words = step && WORDS[step]
  const outcome = byId('tour-outcome', 'p')
  outcome.hidden = tour.done === 0
  setText(outcome, told(tour))
  setText(byId('tour-title', 'h2'), headingOf(tour))
  setText(byId('tour-text', 'p'), words ? words.text : sum())
  setText(byId('tour-do', 'button'), words ? words.action : 'Once more')
  setText(byId('tour-leave', 'button'), words ? 'Leave the tour' : 'Close')
}

/** Of the step before. */
function told({ done }: Tour): string {
  const step = STEPS[done - 1]
  return step ? WORDS[step].outcome : ''
}

function headingOf({ done }: Tour): string {
  const step = STEPS[done]
  return step ? `Step ${done + 1} of ${STEPS.length}: ${WORDS[step].title}` : 'That was the tour'
}

function inviting({ state, done }: Tour): string {
  if (state === 'finished') return 'Take the tour again'
  return done > 0 ? `Tour: step ${done + 1} of ${STEPS.length}` : 'Take the tour'
}
