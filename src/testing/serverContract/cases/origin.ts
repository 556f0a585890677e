import { quoted } from '../json'
import { rulesOf } from '../rule'

const rule = rulesOf('origin')
const FOREIGN = 'https://holdline-check.invalid'

export const origin = [
  rule('P43', 'a page of an origin that is not listed is refused with 403', async (check) => {
    const line = await check.open()
    const foreign = [{ Origin: FOREIGN }, { Origin: FOREIGN, 'Sec-Fetch-Site': 'cross-site' }]
    for (const headers of foreign) {
      const { response } = await check.get({ ...check.headersOf('first'), ...headers })
      check.expect(response.status === 403, `was answered ${response.status}, not 403`)
      const message = { type: 'reconnect', sessions: [] }
      const answer = await line.post('reconnect', message, { headers })
      answer.expect(answer.status === 403, `403 (it came with ${quoted(headers)})`)
    }
  }),

  rule('P44', 'a GET that is to show the stream in a frame or as a page is refused with 403', async (check) => {
    for (const destination of ['iframe', 'document']) {
      const { response } = await check.get({ ...check.headersOf('first'), 'Sec-Fetch-Dest': destination })
      check.expect(response.status === 403, `was answered ${response.status}, not 403`)
    }
  }),

  rule('P45', 'an answer that depends on the origin is not cacheable, and has `Vary: Origin`', async (check) => {
    const answered = [
      await check.stream(),
      await check.get({ ...check.headersOf('first'), Origin: new URL(check.options.url).origin }),
      await check.get({ ...check.headersOf('first'), Origin: FOREIGN }),
    ]
    for (const { response } of answered) {
      const { status, headers } = response
      const cache = headers.get('cache-control') ?? ''
      const isKept = status === 200 ? !/no-store|no-cache|private/i.test(cache) : /public|max-age=[1-9]/i.test(cache)
      check.expect(!isKept, `an answer ${status} has \`Cache-Control: ${cache}\``)
      const allowed = headers.get('access-control-allow-origin') ?? '*'
      const isVaried = allowed === '*' || /origin|\*/i.test(headers.get('vary') ?? '')
      check.expect(isVaried, `it allows ${allowed} without \`Vary: Origin\``)
    }
  }),
]
