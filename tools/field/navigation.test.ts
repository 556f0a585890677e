import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { bundleForPage } from './bundle'
import { TRANSPORTS, type TransportName } from './contract'
import { ENGINES } from './engines'
import type { Engine, Tab } from './engines/engine'
import { type Handler, type Site, startSite } from './startSite'
import { describeWith } from './tools'

const OVER_HTTP = ['EventSource', 'fetch'] as const satisfies readonly TransportName[]

/** Leaves, in a turn of its own: the driver must have its answer before. */
const LEAVING = { navigate: "location.href = '/other'", reload: 'location.reload()' }

/**
 * Firefox closes the sockets of a page that leaves before it says so: nothing is left that could
 * carry the farewell.
 */
const NO_FAREWELL: Readonly<Record<string, readonly string[]>> = { Firefox: ['WebSocket navigate', 'WebSocket reload'] }

for (const { name, tools, launch } of ENGINES) {
  describeWith(`pages in ${name}`, tools, () => {
    let script: string
    let engine: Engine
    const ends: (() => Promise<void>)[] = []
    beforeAll(async () => {
      script = await bundleForPage('./page/app.ts')
      engine = await launch()
    })
    afterEach(async () => {
      for (const end of ends.splice(0)) await end()
    })
    afterAll(async () => {
      await engine?.close()
    })

    async function visit(transport: TransportName, options: object = {}, prepare: (site: Site) => void = () => {}) {
      const site = await startSite(script)
      prepare(site)
      const tab = await engine.open(site.app(transport, options))
      // A driver may wait for ever for a tab that is still navigating.
      ends.push(
        () => Promise.race([tab.close().catch(() => {}), new Promise<void>((resolve) => setTimeout(resolve, 5_000))]),
        () => site.close(),
      )
      return { site, tab }
    }

    /** A line that is open, with one event behind it. */
    async function visitOpen(transport: TransportName, options: object = {}) {
      const visited = await visit(transport, options)
      const { site } = visited
      await site.until('open', () => site.told?.phases.at(-1) === 'open')
      await publishes(site, 1)
      return visited
    }

    describe.each(TRANSPORTS)('over %s', (transport) => {
      test.each(['download', 'nothing'] as const)(
        'C112: a navigation that stays on the page loses nothing, and the next event comes soon: %s',
        async (link) => {
          const { site, tab } = await visitOpen(transport)
          const control = await timeOfReconnect(site, tab)
          await leave(tab, `document.getElementById('${link}').click()`)
          await site.until('the click', () => site.requestsTo(`/${link}`).length > 0)
          const took = await publishes(site, 3)
          expect(took, `A forced reconnect took ${control} ms`).toBeLessThan(2_000 + 10 * control)
          // And the line stays as it is then.
          await publishes(site, 3)
          expect(site.told?.seqs).toEqual(site.told?.seqs.map((_, index) => index + 1))
          expect(site.told?.codes).toEqual([])
        },
      )

      for (const how of ['navigate', 'reload', 'close'] as const) {
        const isException = NO_FAREWELL[name]?.includes(`${transport} ${how}`)
        test(`C114: a farewell ${isException ? 'cannot reach' : 'reaches'} onSuspend on ${how}`, async () => {
          const { site, tab } = await visitOpen(transport)
          if (how === 'close') await tab.close()
          else await leave(tab, LEAVING[how])
          if (isException) {
            await new Promise((resolve) => setTimeout(resolve, 3_000))
            expect(site.suspends, 'It can: the exception is out of date').toEqual([])
          } else {
            await site.until('a farewell', () => site.suspends.length > 0)
            expect(site.suspends.map(({ sessions }) => sessions)).toMatchObject([[{ sessionId: 's1', lastSeq: 1 }]])
          }
        })
      }

      test('C118: a page that comes back from the history has its line again, and has lost nothing', async () => {
        const { site, tab } = await visitOpen(transport)
        await goAwayAndBack(site, tab)
        await publishes(site, 2)
        const { shows = [], seqs = [] } = site.told ?? {}
        // A page of its own begins with the whole history, one from the cache goes on.
        expect(seqs).toEqual([1, 2, 3])
        // Firefox puts no page with an open line into its cache.
        expect([site.loads, shows]).toEqual(name === 'Firefox' ? [2, [false]] : [1, [false, true]])
      })

      test('C118: with disconnect() before it leaves it is kept by the back/forward cache', async () => {
        const { site, tab } = await visitOpen(transport)
        await tab.evaluate('connection.disconnect()')
        await site.until('idle', () => site.told?.phases.at(-1) === 'idle')
        await goAwayAndBack(site, tab)
        await publishes(site, 2)
        expect(site.told?.seqs).toEqual([1, 2, 3])
        expect([site.loads, site.told?.shows]).toEqual([1, [false, true]])
      })
    })

    describe.each(OVER_HTTP)('over %s', (transport) => {
      test.each(['', '{"ok":tr'])(
        'C116: an answer to a resume that was cut by a FIN after %j does not open the line',
        async (text) => {
          const { site } = await visit(transport, { backoff: { base: 50 } }, (own) =>
            own.intercepts(cutsFirst('reconnect', text)),
          )
          await site.until('open', () => site.told?.phases.at(-1) === 'open')
          const opening = ['connecting', 'awaitingWelcome', 'reconnecting']
          expect(site.told?.phases).toEqual([...opening, 'backoff', ...opening, 'open'])
        },
      )

      test.each(['', '{"took":'])(
        'C116: nor is one to a message a receipt, after %j: it is repeated, and applied once',
        async (text) => {
          const { site, tab } = await visitOpen(transport)
          site.intercepts(cutsFirst('send', text))
          const verdict = await tab.evaluate(
            "connection.send({ type: 'send', sessionId: 's1', prompt: 'x' }).settled.then(({ status, receipt, attempts }) => ({ status, receipt, attempts }))",
          )
          expect(verdict).toEqual({ status: 'accepted', receipt: { took: 1 }, attempts: 2 })
        },
      )

      test('C115: an overloaded server that answers 503 is asked once per attempt', async () => {
        const { site } = await visit(transport, FOUR_ATTEMPTS, (own) =>
          own.intercepts(() => new Response(null, { status: 503 })),
        )
        await site.until('given up', () => site.told?.codes.includes('gave-up') === true)
        expect(asked(site)).toBe(attempts(site))
      })

      test('C115: one that closes instead is asked more often: Firefox repeats a GET ten times by itself', async () => {
        const { site } = await visit(transport, FOUR_ATTEMPTS, (own) => own.intercepts(closes))
        await site.until('given up', () => site.told?.codes.includes('gave-up') === true)
        expect(asked(site)).toBeGreaterThanOrEqual(attempts(site) * (name === 'Firefox' ? 5 : 1))
      })
    })

    test('C117: a POST that takes too long ends as a timeout, whatever the engine makes of the reason', async () => {
      const { site, tab } = await visitOpen('fetch')
      site.intercepts(({ endpoint, next }) => (endpoint === 'send' ? new Promise(() => {}) : next()))
      expect(await tab.evaluate('post(200)')).toBe('timeout')
    })

    test.each([4204, 4401, 4403, 4408, 4429, 4503])(
      'C113: the page is told of close code %i, with its reason',
      async (code) => {
        const { tab } = await visitOpen('fetch')
        expect(await closeToldOf(tab, code)).toEqual([code, 'why'])
      },
    )

    test.each([1012, 1013])('C113: and of %i, but for WebKit', async (code) => {
      const { tab } = await visitOpen('fetch')
      expect(await closeToldOf(tab, code)).toEqual(name === 'WebKit' ? [1006, ''] : [code, 'why'])
    })
  })
}

async function leave(tab: Tab, expression: string) {
  await tab.evaluate(`void setTimeout(() => { ${expression} }, 0)`)
}

/** ms until the last of them is on the page. */
async function publishes(site: Site, count: number) {
  const before = site.told?.seqs.length ?? 0
  for (let n = 0; n < count; n++) await site.publish()
  return site.until('the events', () => (site.told?.seqs.length ?? 0) >= before + count)
}

/** What this machine needs for a fresh stream and an event, ms. */
async function timeOfReconnect(site: Site, tab: Tab) {
  const before = performance.now()
  await tab.evaluate('connection.reconnect()')
  await publishes(site, 1)
  return performance.now() - before
}

async function goAwayAndBack(site: Site, tab: Tab) {
  await leave(tab, LEAVING.navigate)
  await site.until('away', () => site.requestsTo('/other').length > 0)
  let title: unknown
  while (title !== 'other') title = await tab.evaluate('document.title').catch(() => '')
  const { loads } = site
  const shows = site.told?.shows.length ?? 0
  await leave(tab, 'history.back()')
  await site.until('back', () => site.loads > loads || (site.told?.shows.length ?? 0) > shows)
  await site.until('open', () => site.told?.phases.at(-1) === 'open')
}

const closeToldOf = (tab: Tab, code: number) =>
  tab.evaluate(`new Promise((resolve) => {
    const socket = new WebSocket(location.origin.replace('http', 'ws') + '/close?code=${code}')
    socket.onclose = ({ code, reason }) => resolve([code, reason])
  })`)

/**
 * The chat takes the first POST to an endpoint; the answer ends in the middle, as if its server had
 * been stopped.
 */
function cutsFirst(endpoint: string, text: string): Handler {
  let isFirst = true
  return async (asked) => {
    if (asked.endpoint !== endpoint || !isFirst) return asked.next()
    isFirst = false
    await asked.next()
    const chunk = text && `${text.length.toString(16)}\r\n${text}\r\n`
    asked.raw?.end(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`)
    return new Promise(() => {})
  }
}

const closes: Handler = ({ raw }) => {
  raw?.destroy()
  return new Promise(() => {})
}

const FOUR_ATTEMPTS = { backoff: { base: 20, cap: 50, maxAttempts: 4 } }
const attempts = (site: Site) => site.told?.phases.filter((phase) => phase === 'connecting').length ?? 0
/** Streams that were asked for, but for questions why one did not open. */
const asked = (site: Site) => site.requestsTo('events').filter(({ asksWhy }) => !asksWhy).length
