import { isText } from '../../../protocol'
import { quoted } from '../json'
import { rulesOf } from '../rule'

const rule = rulesOf('welcome')
const isAbove0 = (value: unknown) => typeof value === 'number' && value > 0 && Number.isFinite(value)

export const welcome = [
  rule('P6', 'the first frame is named `welcome`: `{type:"welcome", protocolVersion:2, connectionId, …}`', (check) =>
    check.open(),
  ),

  rule(
    'P7',
    'a `connectionId` has 1 to 1,024 printable ASCII characters, and each stream has a new one',
    async (check) => {
      const ids = [(await check.open()).welcome.connectionId, (await check.open()).welcome.connectionId]
      for (const id of ids) check.expect(isText(id) && /^[ -~]{1,1024}$/.test(id), `the connectionId is ${quoted(id)}`)
      check.expect(ids[0] !== ids[1], `two streams have the connectionId ${quoted(ids[0])}`)
    },
  ),

  rule(
    'P11',
    '`heartbeat` and `receiptAge`, where they are there, are numbers above 0, and `features` is a list of strings',
    async (check) => {
      const { welcome } = await check.open()
      for (const name of ['heartbeat', 'receiptAge'] as const) {
        const value = welcome[name]
        check.expect(value === undefined || isAbove0(value), `\`${name}\` is ${quoted(value)}`)
      }
      const { features = [] } = welcome
      check.expect(Array.isArray(features) && features.every(isText), `\`features\` is ${quoted(features)}`)
    },
  ),

  rule(
    'P12',
    'a stream has one welcome: each further one costs a resume',
    async (check) => {
      const { line } = await check.conversation(1)
      await check.settles(line)
      const welcomes = line.frames.filter(({ name }) => name === 'welcome').length
      check.expect(welcomes === 1, `the stream had ${welcomes} welcomes`)
    },
    { level: 'should' },
  ),
]
