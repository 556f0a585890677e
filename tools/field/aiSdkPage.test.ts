import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findBrowser, launch } from '../shared/browser'
import { hasRedis, type RedisServer, startRedis } from '../shared/redisServer'
import { FAULTS, Stage } from './aiSdkPage/faults'
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
  const measured: Measured[] = []
  let browser: Browser
  let redis: RedisServer

  beforeAll(async () => {
    redis = await startRedis()
    browser = await launch(findBrowser() as string)
  })
  afterAll(async () => {
    await browser?.close()
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

  describe.each(STACKS.filter((stack) => stack !== 'durable' || hasRivals))('%s', (name) => {
    let stack: RunningStack
    const faults: Record<string, Measured['faults'][string]> = {}

    beforeAll(async () => {
      stack = await startStack(name, redis)
      measured.push({ name, versions: versionsOf(name), faults })
    })
    afterAll(() => stack?.close())

    // The others are measured, for docs/ai-sdk.md: what they do is theirs.
    test.each(FAULTS.map((fault) => [fault.name, fault] as const))('%s', async (fault, { play, ours }) => {
      const stage = await Stage.open(stack, browser, redis)
      let failure: unknown
      try {
        await play(stage)
      } catch (error) {
        failure = error
      }
      const seen = await stage.close()
      faults[fault] = seen
      if (failure) throw failure
      if (name === 'holdline') expect(seen).toEqual(ours)
    })
  })
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
