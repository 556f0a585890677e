import { createConnection } from 'holdline'
import { createSharedConnection, type SharedConnection } from 'holdline/tabs'

// A page, or a shared worker, that shares a line; `?own`: that does not. `?worker` starts the
// worker.

const { search } = globalThis.location
if (search === '?worker') new SharedWorker('/page.js', { type: 'module' })

const url = '/api/chat'
const connection = search === '?own' ? createConnection({ url }) : createSharedConnection({ url }, { name: 'me' })
const seqs: number[] = []
const verdicts: string[] = []
const errors: string[] = []
connection.on('message', ({ sessionId, seq }) => sessionId === 's1' && seqs.push(seq as number))
connection.on('error', ({ error }) => errors.push(error.message))
// The worker is for the others.
if (globalThis.document) connection.watch('s1')
connection.connect()

Object.assign(globalThis, {
  tell: () => ({
    role: (connection as SharedConnection).tabs?.role,
    phase: connection.phase,
    visibility: globalThis.document?.visibilityState,
    seqs,
    verdicts,
    errors,
  }),
  send: (count: number) => {
    for (let index = 0; index < count; index++)
      void connection
        .send({ type: 'send', sessionId: 's2', prompt: index })
        .settled.then(({ status }) => verdicts.push(status))
  },
})
