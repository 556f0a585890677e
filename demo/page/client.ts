import { type Connection, type ConnectionOptions, createConnection } from 'holdline'
import { createSharedConnection, type SharedOptions, type Tabs } from 'holdline/tabs'
import type { InboundEvent, PageMessage } from '../events'
import { h, setText } from './dom'
import { PHASES } from './lineView'

/** One connection of the page. */
export interface Client {
  readonly name: string
  /** What it connects to; names it for a mishap, too. */
  readonly line: string
  readonly connection: Connection<InboundEvent, PageMessage> & { readonly tabs?: Tabs }
}

/** `shared`: with this client of all tabs of the browser. */
export function createClient(
  name: string,
  line: string,
  options: Omit<ConnectionOptions, 'url'>,
  shared?: SharedOptions,
): Client {
  // Somebody is looking on: no wait of half a minute.
  const own = { backoff: { cap: 3_000 }, ...options, url: line }
  const connection = shared
    ? createSharedConnection<InboundEvent, PageMessage>(own, shared)
    : createConnection<InboundEvent, PageMessage>(own)
  return { name, line, connection }
}

/** A card for each client; what is looked at, commanded and harmed is the one that is chosen. */
export function createClientsView(list: Element, choose: (client: Client) => void) {
  return (clients: readonly Client[], chosen: Client, sessionId: string) => {
    // Made anew only when there are others: the focus stays.
    if (list.childElementCount !== clients.length) list.replaceChildren(...clients.map(card))
    clients.forEach(({ connection }, index) => {
      const element = list.children[index] as HTMLElement
      const input = element.querySelector('input') as HTMLInputElement
      input.checked = clients[index] === chosen
      element.dataset.phase = connection.phase
      const [name, seq] = element.querySelectorAll('.client-phase, .client-seq')
      if (name) setText(name, PHASES[connection.phase].name)
      if (seq) setText(seq, `seq ${connection.cursor(sessionId)?.lastSeq ?? 0}`)
    })
  }

  function card(client: Client) {
    return h(
      'label',
      { class: 'client', 'data-client': client.name },
      h('input', { type: 'radio', name: 'client', value: client.name, onchange: () => choose(client) }),
      h('span', { class: 'client-name' }, client.name),
      h('span', { class: 'client-phase' }),
      h('span', { class: 'client-seq' }),
    )
  }
}
