import { expect } from 'vitest'
import { MISHAPS } from '../events'
import { createChat, type Fetch, openChat, scriptText, tokenCount } from './_page'
import { describePage, pageTest as test } from './_pageTest'
import { createTabs } from './_tabs'

const HELLO = 'How do you hold the line?'
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, reducedMotion: 'reduce' } as const

// Its tests wait for most of their time.
describePage('the page in a real Chromium', { concurrent: true }, () => {
  test('an answer arrives token by token, and is what the agent said', async ({ chat, site }) => {
    await chat.write(HELLO)
    const first = await chat.heard(1)
    expect(first.length).toBeLessThan(scriptText(HELLO).length)
    await chat.finished(1)
    expect(await chat.answers()).toEqual([scriptText(HELLO)])
    expect(site.prompts).toEqual([HELLO])
    expect(await chat.page.textContent('[data-count="accepted"] dd')).toBe('1')
    const tokens = tokenCount(HELLO)
    expect(await chat.tally()).toEqual({ messages: [1, 1, 0, 0, 0], tokens: [tokens, tokens, 0, 0, 0] })
    expect(chat.crashes).toEqual([])
  })

  test.for(['fetchStream', 'webSocket'])(
    'the same over another transport, which a click chooses: the chat goes on, and a drop costs nothing (%s)',
    async (transport, { chat, site }) => {
      await chat.write(HELLO)
      await chat.finished(1)
      await chat.page.selectOption('#transport', transport)
      await chat.page.waitForURL(`**/?transport=${transport}`)
      await chat.phase('open')
      const sockets: string[] = []
      chat.page.on('request', (request) => sockets.push(request.url()))
      await chat.write(HELLO)
      await chat.heard(20)
      await chat.cause('drop')
      // The wait before the next attempt may be too short to be seen.
      await chat.logged(['mishap drop', 'closed', 'opened'])
      await chat.finished(2)
      expect(await chat.answers()).toEqual([scriptText(HELLO), scriptText(HELLO)])
      expect(site.prompts).toEqual([HELLO, HELLO])
      // Over a WebSocket nothing is posted but the mishap.
      const posted = sockets.filter((url) => url.includes('/api/chat/'))
      expect(posted.length > 0).toBe(transport === 'fetchStream')
      expect(chat.crashes).toEqual([])
    },
  )

  test('Shift + Enter starts a new line, and markup is only text', async ({ chat, site }) => {
    await chat.page.fill('#prompt', '<b>one</b>')
    await chat.page.press('#prompt', 'Shift+Enter')
    await chat.page.keyboard.type('two')
    await chat.page.press('#prompt', 'Enter')
    await chat.finished(1)
    expect(site.prompts).toEqual(['<b>one</b>\ntwo'])
    expect(await chat.ownMessages()).toEqual(['<b>one</b>\ntwo'])
    expect(await chat.page.inputValue('#prompt')).toBe('')
  })

  test('a tool runs as a card with its time, then shows its result, then more tokens come', async ({ chat }) => {
    const prompt = 'Please run a tool'
    await chat.page.click(`.chip:has-text("${prompt}")`)
    await chat.page.waitForSelector('.tool[data-status="running"]')
    await chat.page.waitForFunction(() =>
      /^running \d\.[1-9] s of 1\.5 s$/.test(document.querySelector('.tool-state')?.textContent ?? ''),
    )
    await chat.finished(1)
    expect(await chat.page.textContent('.tool-note')).toContain('9 berths')
    expect(await chat.answers()).toEqual([scriptText(prompt)])
  })

  test('stop ends the answer', async ({ chat }) => {
    await chat.write('a long story')
    await chat.heard(100)
    await chat.page.click('#stop')
    await chat.page.waitForSelector('.answer[data-status="stopped"]')
    const [said = ''] = await chat.answers()
    expect(scriptText('a long story').startsWith(said)).toBe(true)
  })

  test('C16 C21 C35: the stream is dropped in the middle of an answer, which goes on without a gap or a repeat', async ({
    chat,
  }) => {
    await chat.write(HELLO)
    const before = await chat.heard(80)
    await chat.cause('drop')
    await chat.logged(['mishap drop', 'closed failed', 'phase backoff → connecting', 'session resumed', 'opened'])
    expect(before.length).toBeLessThan(scriptText(HELLO).length)
    await chat.finished(1)
    expect(await chat.answers()).toEqual([scriptText(HELLO)])
    const tokens = tokenCount(HELLO)
    expect(await chat.tally()).toEqual({ messages: [1, 1, 0, 0, 0], tokens: [tokens, tokens, 0, 0, 0] })
    expect(chat.crashes).toEqual([])
  })

  test('a dropped stream stays away for long enough to be seen: attempts fail until the network is back', async ({
    profile,
    start,
  }) => {
    const site = await start({ awayMs: 1_000 })
    const chat = await openChat(profile, site)
    await chat.write(HELLO)
    await chat.heard(40)
    await chat.cause('drop')
    await chat.phase('backoff')
    await chat.page.waitForSelector('#phase-note:has-text("Next attempt in")')
    await chat.logged(['closed failed', 'phase connecting → backoff', 'opened'])
    await chat.finished(1)
    expect(await chat.answers()).toEqual([scriptText(HELLO)])
  })

  test('C05 C06 C11: a failed resume opens nothing; the message that waited leaves after the one that succeeded', async ({
    chat,
    site,
  }) => {
    await chat.write(HELLO)
    await chat.heard(80)
    await chat.cause('fail-resume')
    await chat.write('a short one meanwhile')
    await chat.logged([
      'closed failed',
      'phase reconnecting → backoff',
      'phase awaitingWelcome → reconnecting',
      'phase reconnecting → open',
    ])
    await chat.finished(2)
    const log = await chat.log()
    const failure = log.indexOf('phase reconnecting → backoff')
    const closing = log.findIndex((entry) => entry.startsWith('closed failed'))
    expect(log.slice(closing, failure).filter((entry) => entry.startsWith('opened'))).toEqual([])
    expect(site.prompts).toEqual([HELLO, 'a short one meanwhile'])
    expect(await chat.answers()).toEqual([HELLO, 'a short one meanwhile'].map(scriptText))
  })

  test('C01 C02 C10: a resume that is answered late lets tokens through, and holds what is written back', async ({
    profile,
    start,
  }) => {
    const answers = gate()
    const site = await start({ lateMs: 0 }, (fetch) => holdAnswers(fetch, answers, /\/reconnect$/))
    const chat = await openChat(profile, site)
    await chat.write('a long story')
    await chat.heard(80)
    answers.close()
    await chat.cause('late-resume')
    await chat.phase('reconnecting')
    const before = await chat.heard(0)
    await chat.write('a short one meanwhile')
    await chat.delivery('a short one meanwhile', 'queued')
    await chat.page.waitForFunction(
      (length) => (document.querySelector('.answer .text')?.textContent ?? '').length > length + 100,
      before.length,
    )
    expect(await chat.page.getAttribute('body', 'data-phase')).toBe('reconnecting')
    await chat.delivery('a short one meanwhile', 'queued')
    expect(site.prompts).toEqual(['a long story'])
    answers.open()
    await chat.phase('open')
    await chat.delivery('a short one meanwhile', 'accepted')
    await chat.page.click('#stop')
    await chat.page.waitForSelector('.answer[data-status="stopped"]')
    await chat.finished(1)
    expect(site.prompts).toEqual(['a long story', 'a short one meanwhile'])
    expect((await chat.answers())[1]).toBe(scriptText('a short one meanwhile'))
  })

  test('C04 C08: a second welcome closes once, resumes once, opens once', async ({ chat }) => {
    await chat.write(HELLO)
    await chat.heard(80)
    const skip = (await chat.log()).length
    await chat.cause('second-welcome')
    await chat.logged(['closed welcome', 'session resumed', 'opened'], skip)
    await chat.finished(1)
    expect(await chat.answers()).toEqual([scriptText(HELLO)])
    const facts = (await chat.log()).slice(skip).map((entry) => entry.split(' ')[0])
    expect(facts.filter((kind) => kind === 'opened' || kind === 'closed')).toEqual(['closed', 'opened'])
    expect(facts.filter((kind) => kind === 'session')).toHaveLength(1)
  })

  test('C22 C23: a stream that goes silent is noticed and replaced; one with pings only is left alone', async ({
    chat,
    start,
  }) => {
    await chat.write(HELLO)
    await chat.heard(80)
    await chat.cause('silence')
    await chat.logged(['mishap silence', 'closed silent', 'session resumed', 'opened'])
    await chat.finished(1)
    expect(await chat.answers()).toEqual([scriptText(HELLO)])
    // The tool is silent for longer than two heartbeats but for the pings.
    const other = await start({ toolMs: 12_000, heartbeat: 500 })
    await chat.page.goto(other.url)
    await chat.phase('open')
    await chat.write('a tool')
    await chat.page.waitForFunction(() =>
      /^running [2-9]\.\d s/.test(document.querySelector('.tool-state')?.textContent ?? ''),
    )
    expect((await chat.log()).filter((entry) => entry.startsWith('closed'))).toEqual([])
  })

  test('C33 C37: the server restarts and has lost everything; the page says so, keeps what it had, and what was not delivered still is', async ({
    chat,
    site,
  }) => {
    await chat.write(HELLO)
    await chat.finished(1)
    await chat.page.click('#disconnect')
    await chat.phase('idle')
    await chat.write('a short one before the restart')
    await chat.cause('restart')
    await chat.logged(['mishap restart'])
    await chat.delivery('a short one before the restart', 'queued')
    await chat.page.click('#connect')
    await chat.logged(['session reset'])
    const told =
      'The server restarted and lost this conversation. No answer was under way. This page still shows what it had received. 1 message that was not delivered yet will be.'
    await chat.finished(2)
    expect(site.prompts).toEqual([HELLO, 'a short one before the restart'])
    expect(await chat.answers()).toEqual([HELLO, 'a short one before the restart'].map(scriptText))
    // Below it begins what the server knows.
    expect(await chat.page.textContent('.past + .break')).toBe(told)
    expect(await chat.tally()).toMatchObject({ messages: [2, 2, 0, 0, 0] })
    await chat.page.reload()
    await chat.logged(['session resumed', 'opened'])
    expect(await chat.answers()).toEqual([HELLO, 'a short one before the restart'].map(scriptText))
  })

  test('C33: a restart in the middle of an answer: what was accepted is told as cut off, or as left without an answer, and can be sent again', async ({
    chat,
    site,
  }) => {
    await chat.write('a long story')
    await chat.heard(80)
    await chat.write('a short one behind it')
    await chat.delivery('a short one behind it', 'accepted')
    await chat.cause('restart')
    await chat.logged(['closed failed', 'session reset', 'opened'])
    await chat.page.waitForSelector('.break:has-text("1 answer was cut off, and 1 accepted message has no answer.")')
    await chat.page.waitForFunction(() => {
      const { scrollHeight, scrollTop, clientHeight } = document.getElementById('scroller') ?? document.body
      return scrollHeight - scrollTop - clientHeight < 2
    })
    expect(await chat.ownMessages()).toEqual(['a long story', 'a short one behind it'])
    const [cut, lost] = await chat.answerNotes()
    expect(cut).toContain('Cut off')
    expect(lost).toContain('Accepted, but not answered')
    const [said = ''] = await chat.answers()
    expect(scriptText('a long story').startsWith(said)).toBe(true)
    expect(await chat.page.textContent('#tally-note')).toBe(
      'By restarts of the server: 1 answer cut off, 1 message left without an answer.',
    )
    await chat.page.click('[data-status="lost"] button')
    await chat.finished(1)
    expect((await chat.answers()).at(-1)).toBe(scriptText('a short one behind it'))
    expect(site.prompts).toEqual(['a long story', 'a short one behind it', 'a short one behind it'])
    // On the way nothing was lost: each that was sent has arrived once.
    expect(await chat.tally()).toMatchObject({ messages: [3, 3, 0, 0, 0] })
    expect((await chat.tally()).tokens?.slice(2)).toEqual([0, 0, 0])
  })

  test('C33: a tab that comes back late to a restarted server shows the new conversation from its beginning', async ({
    chat,
    site,
  }) => {
    const late = createChat(await chat.page.context().newPage())
    await late.page.goto(site.url)
    await late.phase('open')
    await chat.write('a short one before')
    await Promise.all([chat.finished(1), late.finished(1)])
    await late.page.click('#disconnect')
    await chat.cause('restart')
    await chat.logged(['session reset', 'opened'])
    await chat.write('a short one after')
    await chat.finished(2)
    await late.page.click('#connect')
    await late.logged(['session reset', 'opened'])
    await late.finished(2)
    const both = ['a short one before', 'a short one after']
    expect(await late.ownMessages()).toEqual(both)
    expect(await late.answers()).toEqual(both.map(scriptText))
    expect(await late.page.$$eval('.past + .break + .row', (rows) => rows.length)).toBe(1)
    // Cursor and transcript still agree.
    await late.page.reload()
    await late.logged(['session resumed', 'opened'])
    expect(await late.answers()).toEqual(both.map(scriptText))
    expect((await late.log()).filter((entry) => entry.startsWith('closed'))).toEqual([])
  })

  test('C18 C29: reloads in the middle of an answer and of a tool; not a token is missing or doubled', async ({
    chat,
    site,
  }) => {
    await chat.write(HELLO)
    for (const characters of [60, 250]) {
      await chat.heard(characters)
      await chat.page.reload()
      await chat.logged(['session resumed', 'opened'])
    }
    await chat.finished(1)
    await chat.write('a tool')
    await chat.page.waitForSelector('.tool[data-status="running"]')
    await chat.page.reload()
    await chat.finished(2)
    expect(await chat.answers()).toEqual([HELLO, 'a tool'].map(scriptText))
    expect(site.prompts).toEqual([HELLO, 'a tool'])
    const tokens = tokenCount(HELLO) + tokenCount('a tool')
    expect(await chat.tally()).toEqual({ messages: [2, 2, 0, 0, 0], tokens: [tokens, tokens, 0, 0, 0] })
    expect(chat.crashes).toEqual([])
  })

  test('C29: messages that wait survive a reload, and arrive once and in order', async ({ chat, site }) => {
    await chat.page.click('#disconnect')
    await chat.phase('idle')
    for (const prompt of ['short one', 'short two', 'short three']) await chat.write(prompt)
    await chat.page.reload()
    await chat.finished(3)
    expect(site.prompts).toEqual(['short one', 'short two', 'short three'])
    expect(await chat.ownMessages()).toEqual(['short one', 'short two', 'short three'])
  })

  test('C29: what 20 messages have come to survives each reload: offline, with their answers lost, and at last; they arrive once and in order', async ({
    profile: context,
    start,
  }) => {
    const answers = gate()
    const site = await start({ tokensPerSecond: 1_000 }, (fetch) => holdAnswers(fetch, answers, /\/(send|batch)$/))
    const chat = await openChat(context, site)
    // The page itself is there offline too, as from a service worker.
    const isOfPage = ({ pathname }: URL) => !pathname.startsWith('/api/')
    await context.route(isOfPage, async (route) => {
      // The site may close a kept connection just when it is used again, or the page may be gone.
      const response = await route.fetch({ maxRetries: 5 }).catch(() => null)
      await (response ? route.fulfill({ response }) : route.abort()).catch(() => {})
    })
    await context.setOffline(true)
    expect((await context.request.post(`${site.url}demo/mishaps/drop`)).status()).toBe(200)
    await chat.logged(['closed failed'])
    const prompts = Array.from({ length: 20 }, (_, index) => `short ${index + 1}`)
    for (const prompt of prompts) await chat.write(prompt)
    await chat.page.reload()
    await chat.deliveries(20, 'queued')
    expect(await chat.ownMessages()).toEqual(prompts)
    expect(site.prompts).toEqual([])

    answers.close()
    await context.setOffline(false)
    await chat.deliveries(20, 'sending')
    await expect.poll(() => site.prompts).toEqual(prompts)
    await chat.page.reload()
    await chat.deliveries(20, 'sending')
    expect(await chat.count('sending')).toBe(20)
    answers.open()
    await chat.finished(20)
    expect(await chat.count('accepted')).toBe(20)

    await chat.page.reload()
    await chat.phase('open')
    await chat.deliveries(20, 'accepted')
    expect(await chat.ownMessages()).toEqual(prompts)
    // Nothing was left to be accepted.
    expect(await Promise.all(['queued', 'sending', 'accepted'].map(chat.count))).toEqual([0, 0, 0])
    expect(site.prompts).toEqual(prompts)
    expect((await chat.tally()).messages).toEqual([20, 20, 0, 0, 0])
    expect(chat.crashes).toEqual([])
  })

  test.for([
    ['closed', 'localStorage'],
    ['crashed', 'localStorage'],
    ['closed', 'IndexedDB'],
    ['crashed', 'IndexedDB'],
  ] as const)(
    'C29: what a tab has queued is its own while it lives; once it is %s, another posts it at its next open: %s',
    async ([end, storage], { profile, site }) => {
      const openTab = await createTabs(profile, site, storage)
      const [first, second] = [await openTab(), await openTab()]
      const ids = await first.queue(['one', 'two', 'three'])
      await second.open()
      expect(await second.say('of the second')).toBe('accepted')
      await second.open()
      expect(await second.say('again')).toBe('accepted')
      expect(site.prompts).toEqual(['of the second', 'again'])

      if (end === 'closed') await first.page.close()
      else await Promise.all([first.page.waitForEvent('crash'), first.page.goto('chrome://crash').catch(() => {})])
      await second.nothingIsHeld()
      await second.open()
      expect(await second.say('last')).toBe('accepted')
      expect(site.prompts).toEqual(['of the second', 'again', 'one', 'two', 'three', 'last'])
      for (const id of ids) expect(await second.toldOf(id)).toEqual(['queued', 'sending', 'accepted'])
      await expect.poll(() => second.stored()).toEqual([])
    },
  )

  test.for(['localStorage', 'IndexedDB'] as const)(
    'C29: a tab that lives posts what it has queued itself, once, however often others open: %s',
    async (storage, { profile, site }) => {
      const openTab = await createTabs(profile, site, storage)
      const [first, second] = [await openTab(), await openTab()]
      await first.queue(['thought better of'])
      const ids = await first.queue(['one', 'two'])
      await second.open()
      await Promise.all([first.open(), second.open()])
      expect(await first.say('three')).toBe('accepted')
      await second.open()
      expect(await second.say('four')).toBe('accepted')
      expect(site.prompts).toEqual(['one', 'two', 'three', 'four'])
      for (const id of ids) expect(await second.toldOf(id)).toEqual([])
      await expect.poll(() => second.stored()).toEqual([])
    },
  )

  test('a message cancelled while it waits never arrives', async ({ chat, site }) => {
    await chat.page.click('#disconnect')
    await chat.phase('idle')
    await chat.write('cancelled')
    await chat.write('kept short')
    await chat.page.click('.own:has-text("cancelled") button:has-text("Cancel")')
    await chat.delivery('cancelled', 'rejected')
    await chat.page.click('.own:has-text("cancelled") button:has-text("Dismiss")')
    await chat.page.click('#connect')
    await chat.finished(1)
    expect(site.prompts).toEqual(['kept short'])
  })

  test('C24 C42: the network goes and comes back; what was typed meanwhile arrives once and in order', async ({
    chat,
    site,
  }) => {
    await chat.write(HELLO)
    await chat.heard(80)
    const context = chat.page.context()
    await context.setOffline(true)
    // Chromium's emulation refuses new requests, but leaves the open stream alone. This request is
    // not the page's.
    expect((await context.request.post(`${site.url}demo/mishaps/drop`)).status()).toBe(200)
    await chat.logged(['closed failed', 'phase connecting → backoff'])
    for (const prompt of ['short one', 'short two']) await chat.write(prompt)
    await chat.delivery('short two', 'queued')
    await context.setOffline(false)
    await chat.finished(3)
    expect(site.prompts).toEqual([HELLO, 'short one', 'short two'])
    expect(await chat.answers()).toEqual([HELLO, 'short one', 'short two'].map(scriptText))
  })

  test('a second tab shows the same conversation, from its beginning', async ({ chat, site }) => {
    await chat.write(HELLO)
    await chat.heard(80)
    const second = createChat(await chat.page.context().newPage())
    await second.page.goto(site.url)
    await Promise.all([chat.finished(1), second.finished(1)])
    expect(await second.answers()).toEqual([scriptText(HELLO)])
  })

  test('a new chat begins empty, and the old one no longer speaks', async ({ chat }) => {
    await chat.write('a long story')
    await chat.heard(80)
    await chat.page.click('#new-chat')
    await chat.page.waitForSelector('#rows:empty', { state: 'attached' })
    await chat.write(HELLO)
    await chat.finished(1)
    expect(await chat.answers()).toEqual([scriptText(HELLO)])
  })

  test('the tour: its steps are done by hand or by one click, and notice it; it can be left, and goes on where it was', async ({
    chat,
    site,
  }) => {
    const { page } = chat
    const heading = (text: string) => page.waitForSelector(`#tour-title:has-text("${text}")`)
    await page.click('#tour-start')
    await heading('Step 1 of 4: Cut the line while it types')
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('tour-title')
    // By hand …
    await chat.write('a long story')
    await chat.heard(40)
    await chat.cause('drop')
    await heading('Step 2 of 4: Write while it is down')
    expect(await page.textContent('#tour-status')).toMatch(/^The line was cut, and the text went on.*Step 2 of 4/)
    await page.click('#tour-leave')
    await page.waitForSelector('#tour', { state: 'hidden' })
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('tour-open')
    await page.reload()
    await chat.phase('open')
    expect(await page.isVisible('#tour')).toBe(false)
    await page.click('#tour-open:has-text("Tour: step 2 of 4")')
    await heading('Step 2 of 4')
    // … or by its button, which keeps the focus.
    await page.focus('#tour-do')
    await page.keyboard.press('Enter')
    await heading('Step 3 of 4: Restart the server')
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('tour-do')
    expect(site.prompts.at(-1)).toBe('A short one, written while the line was down')
    await page.keyboard.press('Enter')
    await heading('Step 4 of 4: Look at the trace')
    await chat.logged(['session reset', 'opened'])
    await page.keyboard.press('Enter')
    await heading('That was the tour')
    await page.waitForSelector('body.is-past')
    expect(await page.textContent('#caption')).toContain('stream.failed')
    expect(await page.textContent('#tour-text')).toMatch(
      /^Counted so far: 2 messages and \d+ tokens; lost 0, doubled 0, out of order 0\.$/,
    )
    await page.click('#tour-leave')
    expect(await page.isVisible('#tour')).toBe(false)
    expect(chat.crashes).toEqual([])
  })

  test('a phone opens on the chat: what it is, the line that installs it, and the mishaps with what they do', async ({
    browser,
    site,
  }) => {
    const page = await browser.newPage({ ...PHONE, permissions: ['clipboard-read', 'clipboard-write'] })
    await page.goto(site.url)
    const chat = createChat(page)
    await chat.phase('open')
    expect(await page.isVisible('#prompt')).toBe(true)
    expect(await page.isVisible('#stage')).toBe(false)
    await page.tap('#copy-install')
    await page.waitForSelector('#copy-install:has-text("Copied")')
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('npm install holdline xstate')

    expect(await page.isVisible('#hint-restart')).toBe(false)
    await page.tap('#explain')
    for (const mishap of MISHAPS) await page.locator(`#hint-${mishap}`).scrollIntoViewIfNeeded()
    expect(await page.isVisible('#hint-restart')).toBe(true)
    await page.tap('#explain')
    await chat.write(HELLO)
    await chat.heard(40)
    await page.tap('[data-mishap="drop"]')
    await page.waitForSelector('#mishap-hint:has-text("Destroys the socket")')
    await chat.logged(['mishap drop', 'closed failed', 'opened'])
    await chat.finished(1)
    expect(await page.textContent('#mishap-hint')).toContain('Destroys the socket')
    await page.close()
  })

  test('C01 C11 C25: a message typed in any phase arrives exactly once, in order', async ({ profile, start }) => {
    const gates = { headers: gate(), welcome: gate() }
    const resumes = gate()
    const site = await start({ lateMs: 0 }, (fetch) => holdAnswers(holdStreams(fetch, gates), resumes, /\/reconnect$/))
    const page = await profile.newPage()
    // The longest backoff that the jitter can draw.
    await page.addInitScript(() => {
      Math.random = () => 0.99
    })
    await page.goto(site.url)
    const chat = createChat(page)
    const promptFor = (phase: string) => `a short one, ${phase}`
    const writeIn = async (phase: string) => {
      const prompt = promptFor(phase)
      await chat.phase(phase)
      await chat.write(prompt)
      if (phase !== 'open') await chat.delivery(prompt, 'queued')
      expect(await page.getAttribute('body', 'data-phase')).toBe(phase)
    }
    await writeIn('open')
    await chat.finished(1)
    await page.click('#disconnect')
    await writeIn('idle')
    gates.headers.close()
    gates.welcome.close()
    await page.click('#connect')
    await writeIn('connecting')
    gates.headers.open()
    await writeIn('awaitingWelcome')
    resumes.close()
    await chat.cause('late-resume')
    // It drops the stream that has not said welcome yet, and so the next one's resume is late.
    await chat.phase('backoff')
    gates.welcome.open()
    await writeIn('reconnecting')
    resumes.open()
    await chat.phase('open')
    await chat.cause('fail-resume')
    await page.waitForFunction(
      () => document.body.dataset.phase === 'backoff' && Number(document.getElementById('attempt')?.textContent) > 1,
    )
    await writeIn('backoff')
    await chat.finished(6)
    const written = ['open', 'idle', 'connecting', 'awaitingWelcome', 'reconnecting', 'backoff'].map(promptFor)
    expect(site.prompts).toEqual(written)
    expect(await chat.ownMessages()).toEqual(written)
    expect(await chat.answers()).toEqual(written.map(scriptText))
  })
})

function gate() {
  let release = () => {}
  let opened = Promise.resolve()
  return {
    open: () => release(),
    close() {
      opened = new Promise((resolve) => {
        release = resolve
      })
    },
    passed: () => opened,
  }
}

/**
 * The server takes what is posted to these paths, but its answers stay away until the gate opens.
 */
function holdAnswers(fetch: Fetch, answers: ReturnType<typeof gate>, paths: RegExp): Fetch {
  return async (request, env) => {
    const response = await fetch(request, env)
    if (paths.test(request.url)) await answers.passed()
    return response
  }
}

/** Keeps streams from answering, and their welcome from being written, until the gates open. */
function holdStreams(
  fetch: Fetch,
  { headers, welcome }: Record<'headers' | 'welcome', ReturnType<typeof gate>>,
): Fetch {
  return async (request, env) => {
    const isStream = request.url.endsWith('/events')
    if (isStream) await headers.passed()
    const response = await fetch(request, env)
    if (!isStream || !response.body) return response
    const reader = response.body.getReader()
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          await welcome.passed()
          const { done, value } = await reader.read()
          if (done) controller.close()
          else controller.enqueue(value)
        },
        cancel: (reason) => reader.cancel(reason),
      },
      { highWaterMark: 0 },
    )
    return new Response(body, { status: response.status, headers: response.headers })
  }
}
