import { parseArgs } from 'node:util'
import { type PythonServer, startPython } from '../tools/shared/pythonServer'
import type { ForeignServer } from './foreignChat'

const USAGE = `npm start -- [--server python]

--server  in the place of the demo's own chat server: python is examples/servers/python, and a base URL such as
          http://127.0.0.1:3000/api/chat is a server that takes 'Authorization: Bearer <any name>' for a user,
          and answers {"type":"send","sessionId","prompt"} with the events {"type":"prompt","turnId","text"} and
          {"type":"answer","turnId","text"}, whose turnId is the Idempotency-Key.`

/**
 * What starts the server that the command line names; undefined for the demo's own. Each start
 * after the first one kills the process in Python, and begins it on the same log: a restart loses
 * nothing.
 *
 * @throws Error that says what can be chosen
 */
export function chosenServer(args: readonly string[]): (() => ForeignServer) | undefined {
  const server = serverIn(args)
  if (server === undefined) return undefined
  if (server === 'python') return pythonStarts()
  if (/^https?:\/\/[^/?#]+[^?#]*$/i.test(server)) {
    const url = Promise.resolve(server.replace(/\/+$/, ''))
    return () => ({ url, close: async () => {} })
  }
  throw new Error(`--server is python or a base URL, not '${server}'\n\n${USAGE}`)
}

function pythonStarts(): () => ForeignServer {
  let latest: Promise<PythonServer> | undefined
  return () => {
    const before = latest
    const started = before ? before.then((server) => server.again('SIGKILL')) : startPython()
    latest = started
    return {
      url: started.then(({ url }) => url),
      async close() {
        if (latest === started) await (await started).stop()
      },
    }
  }
}

function serverIn(args: readonly string[]): string | undefined {
  try {
    return parseArgs({ args: [...args], options: { server: { type: 'string' } } }).values.server
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${USAGE}`)
  }
}
