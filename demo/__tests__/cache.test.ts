import type { Page } from 'playwright-core'
import { expect } from 'vitest'
import { findBrowser } from '../../tools/shared/browser'
import { openChat, scriptText } from './_page'
import { describePage, pageTest } from './_pageTest'

const HELLO = 'How do you hold the line?'

/** The headless shell has no back/forward cache. */
const test = pageTest.override('program', findBrowser())

describePage('the page and the back/forward cache of a real Chromium', { concurrent: true }, () => {
  test('C22 C42: away and back in the middle of an answer, from the back/forward cache where the browser has one', async ({
    chat,
    site,
  }) => {
    await chat.page.evaluate(() => {
      addEventListener('pageshow', ({ persisted }) => Object.assign(document.body.dataset, { persisted }))
    })
    await chat.write(HELLO)
    await chat.heard(80)
    await chat.page.goto(`${site.url}style.css`)
    await chat.page.goBack({ waitUntil: 'commit' })
    await chat.finished(1)
    expect(await chat.answers()).toEqual([scriptText(HELLO)])
    const persisted = await chat.page.getAttribute('body', 'data-persisted')
    console.info(
      `back/forward cache: ${persisted === 'true' ? 'used' : 'not used by this browser, the page was loaded anew'}`,
    )
    await chat.write('a short test')
    await chat.finished(2)
    expect(site.prompts).toEqual([HELLO, 'a short test'])
  })

  test('C29 C42: with nothing stored the page comes from the back/forward cache; what waits is sent once, wherever it comes from', async ({
    profile,
    site,
  }) => {
    const leaveAndReturn = async (page: Page) => {
      await page.evaluate(() => {
        const shown = new Promise((resolve) => addEventListener('pageshow', ({ persisted }) => resolve(persisted)))
        Object.assign(globalThis, { shown })
      })
      await page.goto(`${site.url}style.css`)
      await page.goBack({ waitUntil: 'commit' })
      return page.evaluate(() => (globalThis as { shown?: Promise<boolean> }).shown ?? false)
    }
    const plain = await profile.newPage()
    await plain.goto(`${site.url}page.js`)
    const hasCache = await leaveAndReturn(plain)
    const chat = await openChat(profile, site)
    expect(await leaveAndReturn(chat.page)).toBe(hasCache)
    await chat.phase('open')

    await chat.page.click('#disconnect')
    await chat.phase('idle')
    await chat.write('a short one')
    await chat.delivery('a short one', 'queued')
    // From the cache it is as it was left; loaded anew, it connects.
    if (await leaveAndReturn(chat.page)) await chat.page.click('#connect')
    await chat.finished(1)
    expect(site.prompts).toEqual(['a short one'])
    expect(await leaveAndReturn(chat.page)).toBe(hasCache)
  })
})
