import { expect, test } from 'vitest'
import { chosenServer } from '../../demo/chosenServer'
import { createDemo } from '../../demo/createDemo'
import { listen } from '../../demo/listen'
import { findForeign } from '../chaos/foreign'
import { run } from '../chaos/run'
import { findBrowser, launch } from '../shared/browser'
import { testForeignServer } from '../shared/foreignServer'
import { findPython, startPython } from '../shared/pythonServer'
import { onNode } from './place'
import { describeWith } from './tools'

const python = findPython()
const needed = { 'python3 with starlette and uvicorn': python }

const place = onNode('examples/servers/python', {
  host: 'Starlette on uvicorn',
  runtime: 'Python',
  client: 'Node',
})

async function start() {
  const server = await startPython()
  return {
    port: server.port,
    restart: async () => void (await server.again('SIGTERM')),
    crash: async () => void (await server.again('SIGKILL')),
    stop: server.stop,
  }
}

describeWith(place, needed, () => {
  testForeignServer(start, { keepsLog: true })
})

describeWith('examples/servers/python, a faulty line before it', needed, () => {
  test.each([1, 2, 3])(
    'no rule is broken, with idempotency and without (seed %i)',
    async (seed) => {
      const server = await startPython({ heartbeat: 0.25 })
      const foreign = await findForeign(server.url)
      for (const idempotency of [true, false]) {
        const { violations, faults } = await run({ seed, idempotency, foreign, sends: 100, events: 100 })
        expect(violations).toEqual([])
        expect(Object.values(faults).reduce((sum, times) => sum + times, 0)).toBeGreaterThan(10)
      }
      await server.stop()
      expect(server.complaint).toBe('')
    },
    60_000,
  )
})

const browser = findBrowser()

describeWith('examples/servers/python behind the demo', { ...needed, chromium: browser }, () => {
  test('the page’s first prompt is answered, and after a restart the next one: nothing is lost', async () => {
    const demo = await createDemo({ awayMs: 0, startServer: chosenServer(['--server', 'python']) })
    const site = await listen({ fetch: demo.fetch, port: 0 })
    const chromium = await launch(browser ?? '')
    const page = await chromium.newPage()
    const crashes: string[] = []
    page.on('pageerror', ({ message }) => crashes.push(message))
    await page.goto(site.url)
    const say = async (prompt: string, answers: number) => {
      await page.fill('#prompt', prompt)
      await page.press('#prompt', 'Enter')
      await page.waitForFunction(
        (wanted) => document.querySelectorAll('.answer[data-status="done"]').length === wanted,
        answers,
      )
    }
    await say('What is a lighthouse?', 1)
    await page.click('[data-mishap="restart"]')
    await say('Are you still there?', 2)
    const answers = await page.$$eval('.answer .text', (texts) => texts.map(({ textContent }) => textContent))
    expect(answers).toEqual(['You said: What is a lighthouse?', 'You said: Are you still there?'])
    const [prompts] = await page.$$eval('#tally tbody tr', (rows) =>
      rows.map((row) => Array.from(row.querySelectorAll('td'), ({ textContent }) => Number(textContent))),
    )
    expect(prompts?.slice(0, 2)).toEqual([2, 2])
    expect(prompts?.slice(2)).toEqual(prompts?.slice(2).map(() => 0))
    expect(crashes).toEqual([])
    await chromium.close()
    await demo.close()
    await site.close()
  }, 60_000)
})
