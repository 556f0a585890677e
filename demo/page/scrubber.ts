import { byId, setAttribute, setText } from './dom'

export interface Position {
  readonly first: number
  readonly last: number
  readonly shown: number
  readonly isLive: boolean
  /** What is shown, in words. */
  readonly text: string
  readonly isFile: boolean
}

export interface ScrubberHandlers {
  goTo(number: number): void
  goLive(): void
}

/** The slider through the steps of a trace. The keyboard moves it like any slider. */
export function createScrubber({ goTo, goLive }: ScrubberHandlers) {
  const slider = byId('scrub', 'input')
  const [back, forth, live] = [byId('back', 'button'), byId('forth', 'button'), byId('live', 'button')]
  slider.addEventListener('input', () => goTo(slider.valueAsNumber))
  back.addEventListener('click', () => goTo(slider.valueAsNumber - 1))
  forth.addEventListener('click', () => goTo(slider.valueAsNumber + 1))
  live.addEventListener('click', goLive)

  return ({ first, last, shown, isLive, isFile, text }: Position) => {
    setAttribute(slider, 'min', String(first))
    setAttribute(slider, 'max', String(Math.max(first, last)))
    slider.valueAsNumber = Math.max(first, shown)
    setAttribute(slider, 'aria-valuetext', `step ${shown + 1} of ${last + 1}: ${text}`)
    back.disabled = shown <= first
    forth.disabled = shown >= last
    setAttribute(live, 'aria-pressed', String(isLive))
    setText(live, isFile ? 'Back to live' : 'Live')
  }
}
