import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findShell, launch, warnOfMissingBrowser } from '../../tools/shared/browser'
import { createChat, type Site, startSite } from './_page'

const executable = findShell()
if (!executable) warnOfMissingBrowser()

/**
 * A page on another port: another origin, but of the same site, so its requests carry the cookies
 * of the demo.
 */
async function startNeighbour() {
  const server: Server = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>neighbour</title><body>')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

describe.runIf(executable)('a page of the same site', () => {
  let browser: Browser
  let site: Site
  let neighbour: Awaited<ReturnType<typeof startNeighbour>>
  /** `Sec-Fetch-Mode Sec-Fetch-Dest: status` of each GET for the stream. */
  const seen: string[] = []

  beforeAll(async () => {
    browser = await launch(executable ?? '')
    site = await startSite({}, (fetch) => async (request, env) => {
      const response = await fetch(request, env)
      const { pathname } = new URL(request.url)
      const [mode, dest, cookie] = ['Sec-Fetch-Mode', 'Sec-Fetch-Dest', 'Cookie'].map((name) =>
        request.headers.get(name),
      )
      if (pathname.endsWith('/events') && cookie) seen.push(`${mode} ${dest}: ${response.status}`)
      return response
    })
    neighbour = await startNeighbour()
  })
  afterAll(async () => {
    await browser.close()
    await neighbour.close()
    await site.close()
  })

  test('C102: takes none of the streams of its visitor, by frames, images, fetch, EventSource or WebSocket', async () => {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(site.url)
    await createChat(page).phase('open')
    await page.close()
    seen.length = 0

    const hostile = await context.newPage()
    await hostile.goto(neighbour.url)
    await hostile.evaluate(async (url) => {
      const events = `${url}api/chat/events`
      const put = (name: string, attribute: string) => {
        const element = document.createElement(name)
        element.setAttribute(attribute, events)
        document.body.append(element)
      }
      for (let n = 0; n < 20; n += 1) put('iframe', 'src')
      for (const [name, attribute] of [
        ['embed', 'src'],
        ['object', 'data'],
        ['img', 'src'],
        ['script', 'src'],
      ] as const)
        put(name, attribute)
      for (let n = 0; n < 20; n += 1) fetch(events, { mode: 'no-cors', credentials: 'include' }).catch(() => {})
      for (let n = 0; n < 5; n += 1) fetch(events, { credentials: 'include' }).catch(() => {})
      const source = new EventSource(events, { withCredentials: true })
      await new Promise((resolve) => source.addEventListener('error', resolve))
      const socket = new WebSocket(events.replace('http', 'ws').replace('events', 'socket'))
      socket.addEventListener('open', () => socket.send('{"type":"hello","protocolVersion":2}'))
      await new Promise((resolve) => socket.addEventListener('close', resolve))
    }, site.url)
    await expect.poll(() => seen.filter((each) => each.startsWith('navigate iframe')).length).toBe(20)
    await expect.poll(() => seen.filter((each) => each.startsWith('no-cors empty')).length).toBe(20)
    expect(new Set(seen.map((each) => each.split(': ')[1]))).toEqual(new Set(['403']))

    const chat = createChat(await context.newPage())
    await chat.page.goto(site.url)
    await chat.phase('open')
    await context.close()
  })

  test('C102: cannot frame the demo, nor restart it', async () => {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(site.url)
    const chat = createChat(page)
    await chat.phase('open')
    const hostile = await context.newPage()
    await hostile.goto(neighbour.url)
    await hostile.evaluate(async (url) => {
      const frame = document.createElement('iframe')
      frame.src = url
      const loaded = new Promise((resolve) => frame.addEventListener('load', resolve))
      document.body.append(frame)
      await loaded
      const init = { method: 'POST', mode: 'no-cors', credentials: 'include' } as const
      await fetch(`${url}demo/mishaps/restart`, init).catch(() => {})
    }, site.url)
    const [, frame] = hostile.frames()
    expect(await frame?.locator('#prompt').count()).toBe(0)
    expect((await chat.log()).filter((entry) => entry.startsWith('closed'))).toEqual([])
    await context.close()
  })
})
