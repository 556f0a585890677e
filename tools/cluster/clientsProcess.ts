import { answer, type Call } from '../load/remote'
import { Clients } from './clients'

// A process full of clients. Each message is a call.

const clients = new Clients(JSON.parse(process.argv[2] ?? '{}'))

process.on('message', async ({ id, ...call }: Call & { readonly id: number }) => {
  process.send?.({ id, result: await answer(clients, call) })
})
process.on('disconnect', () => process.exit())
