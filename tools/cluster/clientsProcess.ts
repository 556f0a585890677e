import { answer, type Call } from '../load/remote'
import { createClients } from './clients'

// A process full of clients. Each message is a call.

const clients = createClients(JSON.parse(process.argv[2] ?? '{}'))

process.on('message', async ({ id, ...call }: Call & { readonly id: number }) => {
  process.send?.({ id, result: await answer(clients, call) })
})
process.on('disconnect', () => process.exit())
