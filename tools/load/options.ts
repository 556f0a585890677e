import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { TRANSPORTS } from './clients'

export const USAGE = `npm run load -- [--clients 5000] [--rate 2000] [--seconds 30] [--sessions <as many as clients>]
                 [--nodes 1] [--redis redis://…] [--transport fetch|eventsource] [--workers <cores>]
npm run load -- --url http://host:port [--url …]    against nodes that were started elsewhere, with
npm run load -- --serve 3000 [--redis redis://…]

--rate       events per second, of all sessions together; each client follows one session
--nodes      server processes; more than one need --redis
--transport  what the clients read their stream with
--workers    processes that share the clients
A node of --serve listens on all interfaces and lets everybody in. Between machines, latencies are as good as their clocks agree.`

export type Options = ReturnType<typeof readOptions>

/** @throws Error that names the option */
export function readOptions(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      clients: { type: 'string', default: '5000' },
      rate: { type: 'string', default: '2000' },
      seconds: { type: 'string', default: '30' },
      sessions: { type: 'string' },
      nodes: { type: 'string' },
      redis: { type: 'string' },
      transport: { type: 'string', default: 'fetch' },
      workers: { type: 'string', default: String(availableParallelism()) },
      url: { type: 'string', multiple: true, default: [] },
      serve: { type: 'string' },
    },
  })
  const { redis, transport, serve, url: urls } = values
  const count = (name: 'clients' | 'rate' | 'seconds' | 'sessions' | 'nodes' | 'workers', preset = '1') => {
    const text = values[name] ?? preset
    if (/^[1-9]\d*$/.test(text)) return Number(text)
    throw new Error(`--${name} must be a whole number above 0, not '${text}'`)
  }
  const clients = count('clients')
  const nodes = count('nodes')
  const sessions = count('sessions', values.clients)
  const knownTransport = TRANSPORTS.find((name) => name === transport)
  if (!knownTransport) throw new Error(`--transport must be one of ${TRANSPORTS.join(', ')}, not '${transport}'`)
  if (redis !== undefined && !/^rediss?:$/.test(protocolOf(redis)))
    throw new Error(`--redis must be a redis:// URL, not '${redis}'`)
  for (const url of urls)
    if (!/^https?:$/.test(protocolOf(url))) throw new Error(`--url must be an http:// URL, not '${url}'`)
  if (serve !== undefined && !(/^\d+$/.test(serve) && Number(serve) <= 65_535))
    throw new Error(`--serve must be a port, not '${serve}'`)
  if (urls.length > 0 && (values.nodes ?? redis ?? serve) !== undefined)
    throw new Error('--url is about nodes that are there: --nodes, --redis and --serve are not for them')
  if (nodes > 1 && redis === undefined)
    throw new Error('--nodes above 1 needs --redis: each process has a log of its own otherwise')
  if (sessions < Math.max(nodes, urls.length)) throw new Error('--sessions must be as many as there are nodes, or more')
  return {
    clients,
    sessions,
    nodes,
    rate: count('rate'),
    seconds: count('seconds'),
    workers: Math.min(count('workers'), clients),
    transport: knownTransport,
    urls: urls.map((url) => url.replace(/\/+$/, '')),
    redis,
    serve: serve === undefined ? undefined : Number(serve),
  }
}

const protocolOf = (url: string) => (URL.canParse(url) ? new URL(url).protocol : '')
