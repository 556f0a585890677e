import { newId } from '../../../protocol'
import { NotPromised } from '../fault'
import { rulesOf } from '../rule'

export const liveness = [
  rulesOf('probe')(
    'P66',
    'a probe is answered by `{type:"probe", nonce}` on the stream',
    async (check) => {
      const line = await check.open()
      const nonces = [newId(), newId()]
      for (const nonce of nonces) (await line.post('probe', { type: 'probe', nonce })).expectAccepted()
      for (const nonce of nonces)
        await line.until(() => line.controls('probe').some((frame) => frame.nonce === nonce), `the probe ${nonce}`)
    },
    { needs: ['probe'] },
  ),

  rulesOf('heartbeat')(
    'P9',
    'something other than a comment comes at least every `heartbeat` ms; after twice that the client gives up',
    async (check) => {
      const line = await check.open()
      const { heartbeat } = line.welcome
      if (typeof heartbeat !== 'number' || !(heartbeat > 0)) throw new NotPromised('the welcome has no heartbeat')
      const patience = heartbeat + Math.max(heartbeat, check.wire.timeout)
      await line.until(() => line.frames.length > 1, `a sign of life (\`heartbeat\` is ${heartbeat})`, patience)
    },
  ),
]
