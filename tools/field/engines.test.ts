import { afterAll, beforeAll } from 'vitest'
import { bundleForPage } from './bundle'
import { TRANSPORTS, testContract, WITH_NATIVE_EVENTSOURCE } from './contract'
import { ENGINES } from './engines'
import type { Engine, Tab } from './engines/engine'
import { onNode } from './place'
import { startRelay } from './startRelay'
import { describeWith } from './tools'

for (const { name, tools, launch } of ENGINES) {
  describeWith(onNode(`holdline in ${name}`, { transports: TRANSPORTS, client: name }), tools, () => {
    let relay: Awaited<ReturnType<typeof startRelay>> | undefined
    let engine: Engine | undefined
    let tab: Tab | undefined
    beforeAll(async () => {
      relay = await startRelay(await bundleForPage('./page/contract.ts'))
      engine = await launch()
      tab = await engine.open(relay.url)
    })
    afterAll(async () => {
      await engine?.close()
      await relay?.close()
    })

    testContract(name, WITH_NATIVE_EVENTSOURCE, () => ({
      version: engine?.version ?? '',
      outcome: async (transport, contractCase) =>
        (await tab?.evaluate<string | null>(
          `runCase(${JSON.stringify(transport)}, ${JSON.stringify(contractCase)})`,
        )) ?? undefined,
    }))
  })
}
