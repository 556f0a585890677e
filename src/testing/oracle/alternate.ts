import type { Watch } from './watch'

/** I7: opened and closed alternate, beginning with opened. */
export const alternate: Watch = ({ connection }, report) => {
  let isOpen = false
  const told = (opened: boolean) => () => {
    if (isOpen === opened) report(`${opened ? 'opened' : 'closed'} twice in a row`)
    isOpen = opened
  }
  connection.on('opened', told(true))
  connection.on('closed', told(false))
  return {
    onSettled() {
      const { phase } = connection
      if (isOpen !== (phase === 'open')) report(`${isOpen ? 'opened' : 'closed'} was told last, in ${phase}`)
    },
    memory: () => [isOpen],
  }
}
