import { createHarness } from 'holdline/testing'
import { expect, test } from 'vitest'
import { describeWith, findPackage } from './tools'

const solid = findPackage('../react18/node_modules/solid-js')
const svelte = findPackage('svelte')
/** What the types of this repository do not know. */
const load = (path: string) => import(/* @vite-ignore */ path)
const TRANSCRIPT = { initial: '', reduce: (said: string, { text }: { text: string }) => said + text }

describeWith('docs/recipes.md: the stores of other frameworks', { 'solid-js': solid, svelte }, () => {
  const say = async (harness: ReturnType<typeof createHarness>, text: string) => {
    harness.server.publish('s1', { type: 'token', text })
    await harness.settles()
  }

  test('Svelte: a session is a store, and what is derived from it follows', async () => {
    const { createTranscript } = await load('../../examples/recipes/svelte/transcript')
    const harness = createHarness()
    const { transcript, words } = createTranscript(harness.connection, 's1')
    const seen: unknown[] = []
    const end = words.subscribe((count: number) => seen.push(count))
    await harness.opens()
    await say(harness, 'one two')
    await say(harness, ' three')
    await expect.poll(() => seen.at(-1)).toBe(3)
    expect(transcript.getSnapshot()).toMatchObject({ state: 'one two three', status: 'live' })
    end()
  })

  test('Solid: a session is a signal, for as long as its owner lives', async () => {
    const { createRoot } = await load('solid-js')
    const { useSession } = await load('../../examples/recipes/solid/useSession')
    const harness = createHarness()
    const { view, dispose } = createRoot((dispose: () => void) => ({
      view: useSession(harness.connection, 's1', TRANSCRIPT),
      dispose,
    }))
    await harness.opens()
    await say(harness, 'hi')
    await expect.poll(view).toMatchObject({ state: 'hi', status: 'live' })
    dispose()
    await say(harness, '!')
    expect(view().state).toBe('hi')
  })
})
