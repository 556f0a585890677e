import type { ChildProcess } from 'node:child_process'
import { answer, type Call, type Remote } from '../../load/remote'

export type { Remote }

interface Reply {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

/** The methods of `target`, from a process that `overIpc` asks. */
export function serveIpc(target: object) {
  process.on('message', async ({ id, ...call }: Call & { readonly id: number }) => {
    const reply = await Promise.resolve()
      .then(() => answer(target, call))
      .then(
        (result): Reply => ({ id, result }),
        (error): Reply => ({ id, error: String(error) }),
      )
    process.send?.(reply)
  })
  process.on('disconnect', () => process.exit())
}

/** Rejects what waits once the process has ended. */
export function overIpc<T>(child: ChildProcess): Remote<T> {
  const waiting = new Map<number, (reply: Reply) => void>()
  let calls = 0
  let hasEnded = false
  child.on('message', (reply: Reply) => waiting.get(reply.id)?.(reply))
  child.once('exit', () => {
    hasEnded = true
    for (const [id, settle] of waiting) settle({ id, error: 'the process has ended' })
  })
  const ask = (call: Call) =>
    new Promise((resolve, reject) => {
      if (hasEnded) return reject(new Error('the process has ended'))
      const id = ++calls
      waiting.set(id, ({ result, error }) => {
        waiting.delete(id)
        if (error === undefined) resolve(result)
        else reject(new Error(error))
      })
      child.send({ id, ...call }, (error) => error && waiting.get(id)?.({ id, error: String(error) }))
    })
  return new Proxy({} as Remote<T>, {
    // Not `then`, or whoever awaits the object would call it.
    get: (_, method) => (method === 'then' ? undefined : (...args: unknown[]) => ask({ method: String(method), args })),
  })
}
