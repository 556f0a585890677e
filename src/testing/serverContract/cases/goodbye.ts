import { Fault, Skipped } from '../fault'
import { quoted } from '../json'
import { rulesOf } from '../rule'

const rule = rulesOf('goodbye')
const isDuration = (value: unknown) => value === undefined || (typeof value === 'number' && value >= 0)

export const goodbye = [
  rule('P21', 'a server that ends a stream says `{type:"goodbye", retryAfter?, spread?}` before', async (check) => {
    const sayGoodbye = check.needed(check.options.goodbye, 'goodbye', '--goodbye')
    const line = await check.open()
    await sayGoodbye()
    const { retryAfter, spread } = await line.until(() => line.controls('goodbye')[0], 'a goodbye')
    const isRight = isDuration(retryAfter) && isDuration(spread)
    check.expect(isRight, `the goodbye has ${quoted({ retryAfter, spread })}, and these are ms`)
    await line
      .until(() => false, 'its end')
      .catch((error: unknown) => {
        if (line.ending === 'open') throw error
      })
  }),

  rule('P42', 'a server that closes answers 503 with `Retry-After`', async (check) => {
    const sayGoodbye = check.needed(check.options.goodbye, 'goodbye', '--goodbye')
    const isClosed = await check.get().then(
      ({ response }) => response.status === 503,
      () => true,
    )
    if (!isClosed) await sayGoodbye()
    const { response } = await check.get().catch((error: unknown) => {
      throw error instanceof Fault ? new Skipped('the server had gone before it could be asked') : error
    })
    const { status, headers } = response
    const isRight = status === 503 && headers.get('retry-after') !== null
    check.expect(isRight, `was answered ${status}, and \`Retry-After\` is ${headers.get('retry-after') ?? 'absent'}`)
  }),
]
