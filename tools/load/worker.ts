import { type Clients, type ClientsOptions, createClients } from './clients'
import { answer, type Call } from './remote'

// A process full of clients. The first message says which; each further one is a call.

let clients: Clients | undefined

process.on('message', async (message: ClientsOptions | (Call & { readonly id: number })) => {
  if (!('method' in message)) {
    clients = createClients(message)
    return
  }
  const { id } = message
  try {
    process.send?.({ id, result: await answer(clients ?? {}, message) })
  } catch (error) {
    process.send?.({ id, error: String(error) })
  }
})
process.on('disconnect', () => process.exit())
