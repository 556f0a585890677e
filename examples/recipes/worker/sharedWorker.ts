import { createConnection } from 'holdline'
import { createHub } from './hub'

// new SharedWorker(new URL('./sharedWorker.ts', import.meta.url), { type: 'module', name: 'chat'
// }).port
const connection = createConnection({ url: '/api/chat' })
const join = createHub(connection)
addEventListener('connect', (event) => {
  for (const port of (event as MessageEvent).ports) join(port)
})
connection.connect()
