import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** The methods of an object that lives in another process. */
export type Remote<T> = {
  readonly [Name in keyof T]: T[Name] extends (...args: infer Args) => infer Result
    ? (...args: Args) => Promise<Awaited<Result>>
    : never
}
export interface Call {
  readonly method: string
  readonly args: readonly unknown[]
}

const remote = <T>(ask: (call: Call) => Promise<unknown>) =>
  new Proxy({} as Remote<T>, {
    // Not `then`, or whoever awaits the object would call it.
    get: (_, method) => (method === 'then' ? undefined : (...args: unknown[]) => ask({ method: String(method), args })),
  })

export function answer(target: object, { method, args }: Call): unknown {
  if (!Object.hasOwn(target, method)) throw new Error(`there is no '${method}'`)
  return (target as Record<string, (...args: readonly unknown[]) => unknown>)[method]?.(...args)
}

/** The answer is read as JSON. */
export const overHttp = <T>(url: string) =>
  remote<T>(async (call) => {
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(call) }).catch((error: Error) => {
      throw new Error(`${url} does not answer: ${error.cause ?? error.message}`)
    })
    if (!response.ok) throw new Error(`${url} answers ${response.status}: it is no node of 'npm run load'`)
    return response.json()
  })

export function overIpc<T>(child: ChildProcess) {
  let calls = 0
  const exit = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`a process of the load has ended: ${signal ?? code}`)
  })
  // Whoever is waiting is told.
  exit.catch(() => {})
  return remote<T>((call) => {
    const id = ++calls
    const answered = new Promise((resolve, reject) => {
      child.on('message', function take(message: { id?: number; result?: unknown; error?: string }) {
        if (message.id !== id) return
        child.off('message', take)
        if (message.error === undefined) resolve(message.result)
        else reject(new Error(message.error))
      })
    })
    child.send({ id, ...call })
    return Promise.race([answered, exit])
  })
}
