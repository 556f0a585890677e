import type { Mishap } from '../events'
import { byId, h, setText } from './dom'

const MISHAPS: Record<Mishap, { readonly label: string; readonly hint: string }> = {
  drop: {
    label: 'Drop the stream',
    hint: 'Destroys the socket of the stream. Expect backoff, a fresh stream, a resume, and the answer going on where it was cut.',
  },
  'fail-resume': {
    label: 'Fail next resume',
    hint: 'Drops the stream and answers the next resume with 500. Expect a second backoff instead of a false “open”, then recovery.',
  },
  'late-resume': {
    label: 'Late resume (5 s)',
    hint: 'Drops the stream and answers the next resume 5 s late. Expect tokens at once, while what you write stays queued until the answer.',
  },
  'second-welcome': {
    label: 'Second welcome',
    hint: 'The server says welcome again on the live stream. Expect one closed, one resume, one opened, and nothing twice.',
  },
  silence: {
    label: 'Go silent',
    hint: 'The stream stays open, but nothing comes any more, not even pings. Expect it to be noticed after about 6 s, and replaced.',
  },
  restart: {
    label: 'Restart server',
    hint: 'All streams die and the log is empty. Expect “the server lost this conversation”; what was not delivered yet still is.',
  },
}
const NO_HINT = 'Point at a mishap, or focus it, to read what it does and what to expect.'

export function createMishapsView(cause: (mishap: Mishap) => void) {
  const line = byId('mishap-hint', 'p')
  const show = (hint: string) => () => setText(line, hint)
  const buttons = Object.entries(MISHAPS).map(([name, { label, hint }]) =>
    h(
      'button',
      {
        type: 'button',
        'data-mishap': name,
        title: hint,
        'aria-description': hint,
        onclick: () => cause(name as Mishap),
        onpointerenter: show(hint),
        onfocus: show(hint),
        onpointerleave: show(NO_HINT),
        onblur: show(NO_HINT),
      },
      label,
    ),
  )
  byId('mishaps', 'fieldset').append(...buttons)
  setText(line, NO_HINT)
}
