import type { Mishap } from '../events'
import { byId, h, setText } from './dom'

const MISHAPS: Record<Mishap, { readonly label: string; readonly hint: string }> = {
  drop: {
    label: 'Drop the stream',
    hint: 'Destroys the socket of the stream, and for two seconds lets nothing through. Expect backoff, failed attempts, a fresh stream, a resume, and the answer going on where it was cut.',
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
    hint: 'The server is gone for two seconds, and with it all that it had in memory: sessions, receipts, answers under way. Expect the page to say what is lost; what was not delivered yet still is.',
  },
}
const NO_HINT = 'Each of them breaks the line in another way, and says here what to expect.'

export function createMishapsView(cause: (mishap: Mishap) => void) {
  const line = byId('mishap-hint', 'p')
  const explain = byId('explain', 'button')
  /** Of the one that happened last. */
  let rest = NO_HINT
  const show = (hint: string) => setText(line, hint)

  const mishaps = Object.entries(MISHAPS).map(([name, { label, hint }]) => {
    const id = `hint-${name}`
    const button = h(
      'button',
      {
        type: 'button',
        'data-mishap': name,
        'aria-describedby': id,
        onclick: () => {
          rest = hint
          show(hint)
          cause(name as Mishap)
        },
        onpointerenter: () => show(hint),
        onfocus: () => show(hint),
        onpointerleave: () => show(rest),
        onblur: () => show(rest),
      },
      label,
    )
    return h('div', { class: 'mishap' }, button, h('p', { id, class: 'mishap-text' }, hint))
  })
  byId('mishaps', 'fieldset').append(...mishaps)
  show(NO_HINT)

  // Where there is no room for both: their names in a row, or all of them with what they do.
  explain.addEventListener('click', () => {
    const isOpen = explain.getAttribute('aria-expanded') === 'false'
    explain.setAttribute('aria-expanded', String(isOpen))
    document.body.classList.toggle('explained', isOpen)
  })
}
