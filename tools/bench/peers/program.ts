import type { StartClient } from './clients/client'
import type { ClientName, Command, Report } from './protocol'

// One client of one library, in a process of its own, which the measurements drive by messages.

const CLIENTS: Readonly<Record<ClientName, () => Promise<StartClient>>> = {
  holdline: async () => (await import('./clients/holdline')).overEventSource,
  'holdline-fetch': async () => (await import('./clients/holdline')).overFetch,
  'holdline-websocket': async () => (await import('./clients/holdline')).overWebSocket,
  eventsource: async () => (await import('./clients/eventsource')).startClient,
  'reconnecting-eventsource': async () => (await import('./clients/reconnectingEventSource')).startClient,
  'fetch-event-source': async () => (await import('./clients/fetchEventSource')).startClient,
  centrifuge: async () => (await import('./clients/centrifuge')).startClient,
  'socket.io': async () => (await import('./clients/socketIo')).byDefault,
  'socket.io-retries': async () => (await import('./clients/socketIo')).atLeastOnce,
  partysocket: async () => (await import('./clients/partySocket')).startClient,
  signalr: async () => (await import('./clients/signalR')).startClient,
}

const [name = '', url = '', flood = '0'] = process.argv.slice(2)
const expected = Number(flood)
const startClient = await CLIENTS[name as ClientName]()
const tell = (report: Report) => process.send?.(report)
/** ms. The monotonic clock of the machine, which other processes can compare with. */
const now = () => Number(process.hrtime.bigint()) / 1e6

let received = 0
let characters = 0
let cpuBefore = process.cpuUsage()

const client = startClient(url, {
  up() {
    tell({ is: 'up', at: now() })
  },
  down() {
    tell({ is: 'down', at: now() })
  },
  hear(message) {
    const { text } = message as { readonly text: string }
    if (expected === 0) return void tell({ is: 'heard', at: now(), text })
    if (received === 0) cpuBefore = process.cpuUsage()
    characters += text.length
    if (++received < expected) return
    const { user, system } = process.cpuUsage(cpuBefore)
    tell({ is: 'flooded', at: now(), cpu: user + system, characters })
  },
})

process.on('message', ({ prompt }: Command) => {
  client.send?.(prompt).then(
    (told) => tell({ is: 'told', at: now(), told }),
    (error) => tell({ is: 'told', at: now(), told: `an error: ${error.message}` }),
  )
})
// A rejection that a library leaves unhandled would end the process, and with it the measurement.
process.on('unhandledRejection', () => {})
process.on('disconnect', () => process.exit())
