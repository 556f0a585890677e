import { createConnection } from 'holdline'
import { createHarness, type HarnessOptions } from 'holdline/testing'
import { expect, test } from 'vitest'
import { type AppPlugin, capacitorLifecycle, type NetworkPlugin } from './lifecycle'

/** A plugin as Capacitor makes them: a listener is there when the native side has answered. */
function createPlugin() {
  const listeners = new Set<readonly [event: string, listener: (data: never) => void]>()
  return {
    listeners,
    async addListener(event: string, listener: (data: never) => void) {
      const entry = [event, listener] as const
      listeners.add(entry)
      return { remove: async () => void listeners.delete(entry) }
    },
    tells(event: string, data: object = {}) {
      for (const [name, listener] of [...listeners]) if (name === event) listener(data as never)
    },
  }
}

/** `without`: a plain server, whose clients cannot ask a stream whether it lives. */
async function opens(options: HarnessOptions = {}) {
  const app = createPlugin()
  const network = createPlugin()
  const harness = createHarness({
    heartbeat: 15_000,
    create: (environment) =>
      createConnection({
        ...environment,
        pageLifecycle: capacitorLifecycle(app, network, environment.clock.now),
      }),
    ...options,
  })
  harness.connection.watch('s1')
  await harness.opens()
  return { harness, app, network }
}
const WITHOUT_PROBE = { features: ['replay-marker', 'contiguous-seq', 'idempotency'] } as const

test('the system suspends the app: the server is told how far it got', async () => {
  const { harness, app } = await opens()
  harness.server.publish('s1', { type: 'token', text: 'a' })
  app.tells('pause')
  await harness.settles()
  expect(harness.post('suspend')).toMatchObject({
    keepalive: true,
    body: { sessions: [{ sessionId: 's1', lastSeq: 1 }] },
  })
})

test('back after ten minutes: a stream that died meanwhile and reads OPEN is replaced, and nothing is missing', async () => {
  const { harness, app } = await opens(WITHOUT_PROBE)
  app.tells('pause')
  harness.time.jumps(600_000)
  const dead = harness.stream
  harness.server.behaves({ event: (_, stream, next) => (stream === dead ? undefined : next()) })
  harness.server.publish('s1', { type: 'token', text: 'meanwhile' })
  app.tells('resume')
  expect(dead.isClosed).toBe(true)
  await harness.reaches('open')
  expect(harness.messages).toMatchObject([{ text: 'meanwhile' }])
})

test('back after ten minutes: a stream that can be asked, and answers, is kept', async () => {
  const { harness, app } = await opens()
  app.tells('pause')
  harness.time.jumps(600_000)
  app.tells('resume')
  await harness.settles()
  expect(harness.post('probe').isAnswered).toBe(true)
  expect(harness.streams).toHaveLength(1)
  expect(harness.connection.phase).toBe('open')
})

test('back after a moment: nothing is torn down', async () => {
  const { harness, app } = await opens(WITHOUT_PROBE)
  // It counts from the pause, not from the beginning.
  await harness.passes(600_000)
  app.tells('pause')
  harness.time.jumps(2_000)
  app.tells('resume')
  await harness.settles()
  expect(harness.streams).toHaveLength(1)
})

test('another network: a fresh stream at once, also out of the middle of a backoff', async () => {
  const { harness, network } = await opens()
  network.tells('networkStatusChange', { connected: true, connectionType: 'cellular' })
  expect(harness.streams.map(({ isClosed }) => isClosed)).toEqual([true, false])
  await harness.reaches('open')
  network.tells('networkStatusChange', { connected: false, connectionType: 'none' })
  harness.stream.fails()
  await harness.reaches('backoff')
  network.tells('networkStatusChange', { connected: true, connectionType: 'wifi' })
  expect(harness.connection.phase).toBe('connecting')
})

test('in idle nothing is listened to, though the plugins answer late', async () => {
  const { harness, app, network } = await opens()
  expect(app.listeners.size + network.listeners.size).toBe(3)
  harness.connection.disconnect()
  // Before the native side has removed its listeners.
  app.tells('resume')
  network.tells('networkStatusChange', { connected: true, connectionType: 'wifi' })
  await harness.settles()
  expect(app.listeners.size + network.listeners.size).toBe(0)
  expect(harness.connection.phase).toBe('idle')
})

// Capacitor's own plugins fit. As they are declared in @capacitor/app and @capacitor/network:
interface PluginListenerHandle {
  remove: () => Promise<void>
}
interface App {
  addListener(event: 'appStateChange', listener: (state: { isActive: boolean }) => void): Promise<PluginListenerHandle>
  addListener(event: 'pause', listener: () => void): Promise<PluginListenerHandle>
  addListener(event: 'resume', listener: () => void): Promise<PluginListenerHandle>
  addListener(event: 'appUrlOpen', listener: (event: { url: string }) => void): Promise<PluginListenerHandle>
}
interface Network {
  addListener(
    event: 'networkStatusChange',
    listener: (status: { connected: boolean; connectionType: 'wifi' | 'cellular' | 'none' | 'unknown' }) => void,
  ): Promise<PluginListenerHandle>
}
void ((app: App, network: Network): [AppPlugin, NetworkPlugin] => [app, network])
