import type { Page } from 'playwright-core'
import { expect } from 'vitest'
import { type Fetch, openChat } from './_page'
import { describePage, pageTest as test } from './_pageTest'

const holder = (page: Page, text: string) =>
  page.waitForFunction((wanted) => document.getElementById('holder')?.textContent === wanted, text)
const note = (page: Page) => page.textContent('#phase-note')

describePage('the page in two tabs', { concurrent: true }, () => {
  test('one stream for both: each says who holds it, both hear the answer, and the second takes over', async ({
    profile,
    start,
  }) => {
    let streams = 0
    const counting =
      (fetch: Fetch): Fetch =>
      (request, env) => {
        if (request.url.endsWith('/events')) streams++
        return fetch(request, env)
      }
    const site = await start({}, counting)
    const first = await openChat(profile, site)
    await holder(first.page, 'this tab, for all')
    const second = await openChat(profile, site)
    await holder(second.page, 'another tab')
    expect(await note(first.page)).toBe('This tab holds the line for all tabs.')
    expect(await note(second.page)).toBe('Another tab holds the line; this one shares it.')
    await first.write('Hello?')
    await first.finished(1)
    await second.finished(1)
    expect(await second.answers()).toEqual(await first.answers())
    expect(streams).toBe(1)

    await first.page.close()
    await holder(second.page, 'this tab, for all')
    await second.phase('open')
    await second.write('And now?')
    await second.finished(2)
    expect(streams).toBe(2)
    expect([first.crashes, second.crashes]).toEqual([[], []])
  })

  test('a WebSocket is shared with nobody, and nothing is reported about that', async ({ profile, site }) => {
    const chat = await openChat(profile, { ...site, url: `${site.url}?transport=webSocket` })
    await holder(chat.page, 'this tab, for itself')
    expect((await chat.log()).filter((entry) => entry.startsWith('error'))).toEqual([])
  })
})
