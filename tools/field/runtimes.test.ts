import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundleForRuntime } from './bundle'
import {
  type Cannot,
  type ContractRun,
  TRANSPORTS,
  type TransportName,
  testContract,
  WITH_EVENTSOURCE_PACKAGE,
  WITH_NATIVE_EVENTSOURCE,
} from './contract'
import { type Started, start } from './process'
import type { Outcome } from './runtimes/runContract'
import { describeWith, findPackage, findTool } from './tools'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

interface Runtime {
  readonly name: string
  readonly path: string | undefined
  readonly args?: readonly string[]
  /** What serves and runs the cases, natively. */
  readonly script: string
  readonly cannot: Cannot
  readonly host: string
}

const nodeOf = (alias: string) => {
  const folder = findPackage(alias)
  return folder && join(folder, 'bin/node')
}
const node = (name: string, path: string | undefined): Runtime => ({
  name,
  path,
  script: './runtimes/node.ts',
  cannot: WITH_EVENTSOURCE_PACKAGE,
  host: '@hono/node-server',
})

const RUNTIMES: readonly Runtime[] = [
  node(`Node ${process.versions.node.split('.')[0]}`, process.execPath),
  node('Node 22', nodeOf('node22')),
  node('Node 24', nodeOf('node24')),
  {
    name: 'Bun',
    path: findTool('bun'),
    script: './runtimes/bun.ts',
    cannot: WITH_EVENTSOURCE_PACKAGE,
    host: 'Bun.serve',
  },
  {
    name: 'Deno',
    path: findTool('deno'),
    args: ['run', '--allow-all', '--no-config', '--no-lock'],
    script: './runtimes/deno.ts',
    cannot: WITH_NATIVE_EVENTSOURCE,
    host: 'Deno.serve',
  },
]

/** Without what vitest tells its workers. */
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST')))

/**
 * The script's lines, as the outcomes of a contract; those that it has not come to are waited for.
 */
function readRun(started: Started): ContractRun {
  let version = ''
  const outcomes = new Map<string, string | undefined>()
  const waiting = new Map<string, () => void>()
  const keyOf = (transport: TransportName, name: string) => `${transport} ${name}`
  started.onLine((line) => {
    const told: Outcome | { readonly version: string } = JSON.parse(line)
    if ('version' in told) version = told.version
    else {
      const key = keyOf(told.transport, told.name)
      outcomes.set(key, told.error)
      waiting.get(key)?.()
    }
  })
  return {
    get version() {
      return version
    },
    async outcome(transport, name) {
      const key = keyOf(transport, name)
      if (!outcomes.has(key)) {
        await Promise.race([new Promise<void>((resolve) => waiting.set(key, resolve)), started.exited])
      }
      if (!outcomes.has(key)) throw new Error(`The script ended with ${await started.exited}: ${started.complaint()}`)
      return outcomes.get(key)
    },
  }
}

for (const { name, path, args = [], script, cannot, host } of RUNTIMES) {
  const place = { suite: `holdline in ${name}`, host, runtime: name, transports: TRANSPORTS, client: name }
  describeWith(place, { [name]: path }, () => {
    let started: Started
    let run: ContractRun
    let remove = () => {}
    beforeAll(async () => {
      const bundle = await bundleForRuntime(script)
      remove = bundle.remove
      started = start(path ?? '', [...args, bundle.path], {
        env: { ...ENVIRONMENT, DENO_NO_UPDATE_CHECK: '1', NO_COLOR: '1' },
      })
      run = readRun(started)
    })
    afterAll(async () => {
      await started?.stop()
      remove()
    })

    testContract(name, cannot, () => run)

    test('and nothing went wrong beside the cases', async () => {
      expect(await started.exited, started.complaint()).toBe(0)
    })
  })
}

/** They use timers, streams and abort signals much. */
const UNITS = [
  ...['connectionMachine', 'outbox', 'inbox', 'protocol', 'delivery', 'storage'],
  ...['eventSourceStream', 'fetchStream', 'fetchUpstream', 'webSocket', 'silence', 'pageLifecycle'],
]

describe('the unit tests', () => {
  for (const { name, path } of RUNTIMES.filter(({ name }) => name === 'Node 22' || name === 'Node 24')) {
    describeWith(`under ${name}`, { [name]: path }, () => {
      test(`pass: ${UNITS.join(', ')}`, async () => {
        const args = ['node_modules/vitest/vitest.mjs', 'run', '--reporter=json', ...UNITS]
        const started = start(path ?? '', args, { cwd: ROOT, env: ENVIRONMENT })
        const code = await started.exited.finally(() => started.stop())
        const report = JSON.parse(started.lines.find((line) => line.startsWith('{')) ?? '{}')
        const { numFailedTests, numPassedTests } = report
        expect({ code, numFailedTests }, started.complaint()).toEqual({ code: 0, numFailedTests: 0 })
        expect(numPassedTests).toBeGreaterThan(100)
      })
    })
  }
})
