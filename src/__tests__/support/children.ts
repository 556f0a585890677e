import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/**
 * A process of its own, which runs a program of the tests and says its URL.
 *
 * @param program beside the test: `new URL('x.ts', import.meta.url)`
 */
export async function startNode(program: URL, args: readonly string[]) {
  const child = fork(fileURLToPath(program), args, { execArgv: ['--import', 'tsx'] })
  const exit = once(child, 'exit')
  const [{ url }] = (await once(child, 'message')) as [{ url: string }]
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    await exit
  }
  return { url, kill: () => end('SIGKILL'), stop: () => end('SIGTERM') }
}

/** What stands before several nodes: pages know its address, and it knows the node. */
export function createGateway() {
  const address = 'http://gateway.invalid'
  let node = ''
  return {
    url: `${address}/api/chat`,
    /** Requests reach this node from now on. Streams that are open stay where they are. */
    leadTo(url: string) {
      node = new URL(url).origin
    },
    fetch: (input: string | URL | Request, init?: RequestInit) =>
      fetch(String(input instanceof Request ? input.url : input).replace(address, node), init),
  }
}

/** `ReadableStream.from`, which the types of a browser do not have. */
export const streamOf = <T>(values: AsyncIterator<T>) =>
  new ReadableStream<T>({
    async pull(controller) {
      const { done, value } = await values.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    cancel: () => void values.return?.(),
  })
