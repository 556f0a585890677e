import { byId, setText } from './dom'

/** The line that installs the library, for the clipboard. */
export function bindIntro() {
  const line = byId('install', 'code')
  const button = byId('copy-install', 'button')
  const status = byId('install-status', 'span')
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(line.textContent ?? '')
      setText(button, 'Copied')
      setText(status, 'Copied to the clipboard.')
    } catch {
      // Marked, so that it can be copied by hand.
      getSelection()?.selectAllChildren(line)
      setText(status, 'The browser did not let it be copied. It is marked.')
    }
  })
}
