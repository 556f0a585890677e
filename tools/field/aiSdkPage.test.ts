import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findBrowser, launch } from '../shared/browser'
import { hasRedis, type RedisServer, startRedis } from '../shared/redisServer'
import { FAULTS, type Fault, type Seen, Stage } from './aiSdkPage/faults'
import { type RunningStack, STACKS, startStack, versionsOf } from './aiSdkPage/startStack'
import { type Measured, RESULTS, type Results } from './aiSdkPage/table'
import { run } from './app'
import { describeWith, findPackage } from './tools'

const hasRivals = existsSync(fileURLToPath(new URL('./rivals/node_modules/ai', import.meta.url)))
const tools = {
  'ai 7 (npm ci in tools/field)': findPackage('ai'),
  'Node 22': findPackage('node22'),
  'a redis-server': hasRedis ? 'redis' : undefined,
  chromium: findBrowser(),
}

describeWith('one useChat page in Chromium over three stacks, with the same faults', tools, () => {
  const names = STACKS.filter((stack) => stack !== 'durable' || hasRivals)
  const measured: (Measured & { faults: Record<string, Seen> })[] = []
  let stacks: readonly RunningStack[] = []
  let browser: Browser
  let redis: RedisServer

  beforeAll(async () => {
    redis = await startRedis()
    browser = await launch(findBrowser() as string)
    measured.push(...names.map((name) => ({ name, versions: versionsOf(name), faults: {} })))
    stacks = await Promise.all(names.map((name) => startStack(name, redis)))
  })
  afterAll(async () => {
    await browser?.close()
    await Promise.all(stacks.map((stack) => stack.close()))
    await redis?.stop()
    writeResults(measured)
  })

  test('the types of the pages and the stacks fit', async () => {
    const args = ['node_modules/typescript/bin/tsc', '--project', 'tools/field/aiSdkPage/tsconfig.json']
    expect(await run(process.execPath, args, fileURLToPath(new URL('../..', import.meta.url)))).toEqual({
      code: 0,
      output: '',
    })
  })

  // One fault after the other, each on all stacks at once: most of the time passes in waiting.
  test.each(FAULTS.map((fault) => [fault.name, fault] as const))('%s', async (_name, fault) => {
    const ends = await Promise.allSettled(stacks.map((stack) => meet(stack, fault)))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
    // The others are measured, for docs/ai-sdk.md: what they do is theirs.
    expect(measured.find(({ name }) => name === 'holdline')?.faults[fault.name]).toEqual(fault.ours)
  })

  async function meet(stack: RunningStack, { name, play }: Fault) {
    const stage = await Stage.open(stack, browser, redis)
    try {
      await play(stage)
    } finally {
      const seen = await stage.close()
      const results = measured.find((results) => results.name === stack.stack)
      if (results) results.faults[name] = seen
    }
  }
})

/** A run of some of the tests renews what they measure. */
function writeResults(measured: readonly Measured[]) {
  mkdirSync(new URL('.', RESULTS), { recursive: true })
  const before: Results = existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, 'utf8')) : { at: '', stacks: [] }
  const stacks = STACKS.flatMap((name) => {
    const [old, own] = [before.stacks, measured].map((stacks) => stacks.find((stack) => stack.name === name))
    const all = { ...old?.faults, ...own?.faults }
    const faults = Object.fromEntries(FAULTS.flatMap(({ name }) => (all[name] ? [[name, all[name]]] : [])))
    const { versions } = own ?? old ?? {}
    return versions ? [{ name, versions, faults }] : []
  })
  writeFileSync(RESULTS, `${JSON.stringify({ at: new Date().toISOString(), stacks }, null, 2)}\n`)
}
