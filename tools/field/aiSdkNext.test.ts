import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findBrowser, launch } from '../shared/browser'
import { type App, createApp, run, startApp } from './app'
import { onNode } from './place'
import { describeWith, findPackage } from './tools'

/** An app as a user of the AI SDK has it, with a model that needs no network. */
const BEFORE = {
  'package.json': JSON.stringify({ name: 'app', private: true, type: 'module' }),
  'next.config.mjs': 'export default {}',
  'app/layout.tsx': `import type { ReactNode } from 'react'
export default function Layout({ children }: { children: ReactNode }) {
  return <html lang="en"><body>{children}</body></html>
}`,
  'lib/model.ts': `import { simulateReadableStream } from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
const usage = {
  inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 1, text: 1, reasoning: 0 },
}
export const model = new MockLanguageModelV4({
  doStream: async () => ({
    stream: simulateReadableStream({
      chunkDelayInMs: 40,
      chunks: [
        { type: 'text-start', id: '1' },
        ...Array.from({ length: 60 }, (_, at) => ({ type: 'text-delta', id: '1', delta: \`w\${at} \` }) as const),
        { type: 'text-end', id: '1' },
        { type: 'finish', finishReason: { unified: 'stop', raw: undefined }, usage },
      ],
    }),
  }),
})
`,
  'app/page.tsx': `'use client'
import { useChat } from '@ai-sdk/react'

export default function Page() {
  const { messages, sendMessage, status, stop } = useChat({ id: 'chat' })
  return (
    <form action={(data) => sendMessage({ text: String(data.get('prompt')) })}>
      {messages.map(({ id, parts }) => (
        <p key={id}>{parts.map((part) => (part.type === 'text' ? part.text : ''))}</p>
      ))}
      <input name="prompt" />
      {status === 'streaming' && <button type="button" onClick={stop}>Stop</button>}
    </form>
  )
}
`,
  'app/api/chat/route.ts': `import { convertToModelMessages, streamText, type UIMessage } from 'ai'
import { model } from '../../../lib/model'

export async function POST(request: Request) {
  const { messages }: { messages: UIMessage[] } = await request.json()
  const answer = streamText({ model, messages: await convertToModelMessages(messages) })
  return answer.toUIMessageStreamResponse()
}
`,
}

/** The same, changed as docs/ai-sdk.md says. */
const AFTER = {
  ...BEFORE,
  'lib/line.ts': `import { createConnection } from 'holdline'
import { createChatTransport } from 'holdline/ai-sdk'
import { persist } from 'holdline/storage'

export const connection = createConnection({ url: '/api/line', storage: persist(() => globalThis.localStorage) })
export const transport = createChatTransport(connection)
`,
  'app/page.tsx': `'use client'
import { Chat, useChat } from '@ai-sdk/react'
import { followChat } from 'holdline/ai-sdk'
import { useEffect, useState } from 'react'
import { connection, transport } from '../lib/line'

export default function Page() {
  const [chat] = useState(() => new Chat({ id: 'chat', transport }))
  const { messages, sendMessage, status, error } = useChat({ chat })
  useEffect(() => {
    connection.connect()
    return followChat(chat, transport)
  }, [chat])
  return (
    <form action={(data) => { void sendMessage({ text: String(data.get('prompt')) }) }}>
      {messages.map(({ id, parts }) => (
        <p key={id}>{parts.map((part) => (part.type === 'text' ? part.text : ''))}</p>
      ))}
      <input name="prompt" />
      {error && <p role="alert">This was not answered: ask again.</p>}
      {(status === 'submitted' || status === 'streaming') && (
        <button type="button" onClick={() => transport.stop('chat')}>Stop</button>
      )}
    </form>
  )
}
`,
  'lib/server.ts': `import { convertToModelMessages, streamText } from 'ai'
import { uiMessageRuns } from 'holdline/ai-sdk/server'
import { type ChatServer, createChatServer } from 'holdline/server'
import { createRuns } from 'holdline/server/runs'
import { model } from './model'

function createServer() {
  const server = createChatServer({
    authenticate: () => ({ id: 'everybody' }),
    authorize: () => true,
    onCommand: (call) => onCommand(call),
  })
  const runs = createRuns({ server, onBusy: 'queue' })
  const onCommand = uiMessageRuns({
    runs,
    async stream({ messages, responseId, signal }) {
      const answer = streamText({ model, messages: await convertToModelMessages(messages), abortSignal: signal })
      return answer.toUIMessageStream({ originalMessages: messages, generateMessageId: () => responseId })
    },
  })
  process.once('SIGTERM', async () => {
    await server.close()
    await runs.idle()
    process.exit(0)
  })
  return server
}

const shared = globalThis as { line?: ChatServer }
shared.line ??= createServer()
export const server = shared.line
`,
  'app/api/line/[...path]/route.ts': `import { server } from '../../../../lib/server'

export const GET = (request: Request) => server.fetch(request)
export const POST = GET
`,
}

/** Not blank, and not there before. */
const newLines = (path: keyof typeof AFTER) => {
  const before = new Set((path in BEFORE ? BEFORE[path as keyof typeof BEFORE] : '').split('\n'))
  return AFTER[path].split('\n').filter((line) => line.trim() && !before.has(line)).length
}

const OWN = fileURLToPath(new URL('./node_modules', import.meta.url))
/** These packages, and all that they depend on. */
function withDependencies(names: readonly string[], found = new Set<string>()): string[] {
  for (const name of names) {
    if (found.has(name) || !existsSync(join(OWN, name))) continue
    found.add(name)
    // A scope that is copied whole.
    if (!existsSync(join(OWN, name, 'package.json'))) continue
    const { dependencies = {} } = JSON.parse(readFileSync(join(OWN, name, 'package.json'), 'utf8'))
    withDependencies(Object.keys(dependencies), found)
  }
  return [...found]
}
const PACKAGES = ['next', '@next', '@swc', 'react', 'react-dom', 'ai', '@ai-sdk/react', 'zod']
/** With these `next build` checks the types. */
const TYPES = ['typescript', '@types/node', '@types/react', '@types/react-dom', 'csstype', 'undici-types']

const node22 = findPackage('node22')
const tools = { next: findPackage('next'), 'ai 7': findPackage('ai'), 'Node 22': node22, chromium: findBrowser() }

const place = onNode('a fresh Next app with useChat, changed as docs/ai-sdk.md says', {
  host: 'Next 16',
  runtime: 'Node 22',
})

describeWith(place, tools, () => {
  const node = join(node22 ?? '', 'bin/node')
  let app: App
  let browser: Browser
  let server: Awaited<ReturnType<typeof startApp>>
  const cli = () => join(app.folder, 'node_modules', 'next', 'dist', 'bin', 'next')

  beforeAll(async () => {
    app = createApp(AFTER, withDependencies(PACKAGES), TYPES)
    browser = await launch(findBrowser() as string)
  })
  afterAll(async () => {
    await browser?.close()
    await server?.stop()
    app?.remove()
  })

  test('docs/ai-sdk.md says how many lines that changes', () => {
    const [page, line] = [newLines('app/page.tsx'), newLines('lib/line.ts')]
    const server = newLines('lib/server.ts') + newLines('app/api/line/[...path]/route.ts')
    const doc = readFileSync(new URL('../../docs/ai-sdk.md', import.meta.url), 'utf8').replace(/\s+/g, ' ')
    expect(doc).toContain(`${page} new lines in the page, ${line} in \`lib/line.ts\`, ${server} on the server`)
    // The doc keeps the server as this app does.
    const kept = /const shared = [\s\S]*/.exec(AFTER['lib/server.ts'])?.[0].replace('export ', '')
    expect(doc).toContain(kept?.trim().replace(/\s+/g, ' '))
  })

  test('it builds, with its types checked', async () => {
    const { code, output } = await run(node, [cli(), 'build'], app.folder)
    expect([code, output]).toEqual([0, expect.stringContaining('/api/line/[...path]')])
  })

  test('an answer survives a reload, and is shown in another tab', async () => {
    server = await startApp([cli(), 'start', '--hostname', '127.0.0.1', '--port', '0'], app.folder, node)
    const context = await browser.newContext()
    const [first, second] = [await context.newPage(), await context.newPage()]
    const crashes: string[] = []
    for (const page of [first, second]) {
      page.on('pageerror', (error) => crashes.push(String(error)))
      await page.goto(server.url)
    }
    await first.fill('input', 'tell me')
    await first.press('input', 'Enter')
    await first.waitForSelector('p:nth-of-type(2):has-text("w5")')
    await first.reload()
    const whole = Array.from({ length: 60 }, (_, at) => `w${at} `).join('')
    for (const page of [first, second])
      await expect.poll(() => page.locator('p').last().textContent(), { timeout: 60_000 }).toBe(whole)
    expect(await second.locator('p').allTextContents()).toEqual(['tell me', whole])
    expect(crashes).toEqual([])
  })
})
