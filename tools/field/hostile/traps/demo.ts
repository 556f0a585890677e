import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createDemo } from '../../../../demo/createDemo'
import type { Trap } from '../trap'
import { found, MIB } from '../wire'

const PATHS = 30_000
/** What may be left of them, MiB. */
const LEFT = 4

/** The demo is no production server, but it is what people put on the internet first. */
export const demo: Trap = {
  row: 'C111',
  name: 'the demo and its strangers',
  over: [],
  async run() {
    const { fetch, close } = await createDemo()
    const at = (path: string, init?: RequestInit) => fetch(new Request(`http://demo.test${path}`, init))
    const page = await at('/')
    const framing = `${page.headers.get('X-Frame-Options')} ${page.headers.get('Content-Security-Policy')}`
    const before = heap()
    for (let n = 0; n < PATHS; n += 1) await at(`/api/chat/line-${n}/events`)
    const left = Math.round((heap() - before) / MIB)
    const restart = await at('/demo/mishaps/restart', { method: 'POST', headers: { Cookie: 'demo=made-up' } })
    const foreign = await at('/demo/mishaps/restart', {
      method: 'POST',
      headers: { Cookie: 'demo=made-up', Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site' },
    })
    await close()
    return found(
      { paths: PATHS, 'left MiB': left },
      !/frame-ancestors|DENY|SAMEORIGIN/.test(framing) && 'the page may be framed by any other',
      left > LEFT && `${PATHS} paths of strangers keep ${left} MiB, more than ${LEFT}`,
      restart.status === 200 && 'a cookie that the demo has never given out restarts the server for everybody',
      foreign.status === 200 && 'a page of another site restarts the server for everybody',
    )
  },
}

function heap() {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage().heapUsed
}
