import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort } from '../shared/freePort'
import { hasRedis, type RedisServer, startRedis } from '../shared/redisServer'
import { pack, run } from './app'
import { start } from './process'
import { describeWith } from './tools'

// `npx holdline new`, as a user has it: from the tarball, with the packages of the registry.

const LOGS = ['memory', 'redis'] as const
const APPS = [[], ['--js']].flatMap((language) => LOGS.map((log) => [...language, '--log', log]))

describeWith('holdline new', { 'redis-server': hasRedis ? 'redis-server' : undefined }, () => {
  let folder: string
  let redis: RedisServer

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'holdline-new-app-'))
    redis = await startRedis()
  })
  afterAll(async () => {
    await redis?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test.each(APPS.map((options) => [options.join(' '), options] as const))(
    '%s: the app installs, builds, starts and serves its page',
    async (name, options) => {
      const app = join(folder, name.replaceAll(/[^a-z]+/g, '-').replace(/^-/, ''))
      await passes('npm', ['exec', '--yes', `--package=${pack()}`, '--', 'holdline', 'new', app, ...options], folder)
      // Before it is published its version is in no registry.
      await passes('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', pack()], app)
      await passes('npm', ['run', 'build'], app)
      const port = String(await freePort())
      const env = { ...process.env, PORT: port, REDIS_URL: redis.url, NODE_ENV: 'production' }
      const server = start('npm', ['start'], { cwd: app, env })
      try {
        const page = await answerOf(`http://127.0.0.1:${port}/`, server)
        expect(page).toContain('<div id="root">')
        const [, script] = /<script type="module"[^>]* src="([^"]+)"/.exec(page) ?? []
        expect(await answerOf(`http://127.0.0.1:${port}${script}`, server)).not.toContain('<!doctype')
      } finally {
        await server.stop()
      }
    },
  )
})

async function passes(command: string, args: readonly string[], cwd: string) {
  const { code, output } = await run(command, args, cwd)
  expect([code, code === 0 ? '' : output]).toEqual([0, ''])
}

/** The text that it answers, once it does. */
async function answerOf(url: string, server: ReturnType<typeof start>): Promise<string> {
  let text = ''
  await expect
    .poll(
      async () => {
        const answer = await fetch(url).catch(() => undefined)
        text = (await answer?.text()) ?? ''
        return answer?.status ?? server.complaint()
      },
      { timeout: 60_000 },
    )
    .toBe(200)
  return text
}
