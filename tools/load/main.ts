import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { memoryLog } from 'holdline/server'
import { redisLog } from 'holdline/server/redis'
import type { Clients, ClientsOptions } from './clients'
import { type NodeControl, startNode } from './node'
import { type Options, readOptions, USAGE } from './options'
import { overHttp, overIpc } from './remote'
import { describe, isFlawless } from './report'
import { type Progress, run } from './run'

/** How long Redis keeps the events of a run, ms. */
const KEPT = 600_000
const children: ChildProcess[] = []
const options = readArguments()

if (options.serve === undefined) await load()
else await serve(options.serve)

async function load() {
  const nodes =
    options.urls.length > 0 ? options.urls : await Promise.all(Array.from({ length: options.nodes }, forkNode))
  try {
    const runId = Math.random().toString(36).slice(2, 8)
    const sessions = Array.from({ length: options.sessions }, (_, index) => `load-${runId}-${index}`)
    const firstOf = (worker: number) => Math.floor((worker * options.clients) / options.workers)
    const groups = Array.from({ length: options.workers }, (_, worker) => {
      const first = firstOf(worker)
      const count = firstOf(worker + 1) - first
      return forkClients({ urls: nodes, sessions, transport: options.transport, first, count })
    })
    const remotes = nodes.map((url) => overHttp<NodeControl>(`${url}/load`))
    const summary = await run({ ...options, nodes: remotes, groups, sessions, onProgress: showProgress })
    clearProgress()
    console.log(describe(summary, options))
    process.exitCode = isFlawless(summary) ? 0 : 1
  } catch (error) {
    clearProgress()
    console.error((error as Error).message)
    process.exitCode = 1
  } finally {
    for (const child of children) child.kill()
  }
}

/** A node. Started by `load`, it ends with it. */
async function serve(port: number) {
  const { redis: url } = options
  const log = url === undefined ? memoryLog() : redisLog({ url, prefix: 'holdline-load', maxAge: KEPT })
  const node = await startNode({ log, port, ...(process.send && { host: '127.0.0.1' }) })
  if (!process.send) return console.log(`a node for --url: ${node.url}`)
  process.send(node.url)
  process.on('disconnect', () => process.exit())
}

async function forkNode(): Promise<string> {
  const args = ['--serve', '0', ...(options.redis === undefined ? [] : ['--redis', options.redis])]
  const child = fork(fileURLToPath(import.meta.url), args, { execArgv: [...process.execArgv, '--expose-gc'] })
  children.push(child)
  const exit = once(child, 'exit').then(() => {
    throw new Error('a node could not start')
  })
  const [url] = await Promise.race([once(child, 'message'), exit])
  return url
}

function forkClients(which: ClientsOptions) {
  const child = fork(fileURLToPath(new URL('worker.ts', import.meta.url)))
  children.push(child)
  child.send(which)
  return overIpc<Clients>(child)
}

function showProgress({ step, done, of }: Progress) {
  if (!process.stdout.isTTY) return
  const share = of === 0 ? 1 : Math.min(1, done / of)
  process.stdout.write(`\r${'█'.repeat(40 * share).padEnd(40, '░')} ${step} ${done} of ${of}   `)
}

function clearProgress() {
  if (process.stdout.isTTY) process.stdout.write('\r\x1b[2K')
}

function readArguments(): Options {
  try {
    return readOptions(process.argv.slice(2))
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`)
    process.exit(2)
  }
}
