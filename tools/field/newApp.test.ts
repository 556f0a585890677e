import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createConnection } from 'holdline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort } from '../shared/freePort'
import { hasRedis, type RedisServer, startRedis } from '../shared/redisServer'
import { pack, run } from './app'
import { onNode } from './place'
import { start } from './process'
import { describeWith } from './tools'

// `npx holdline new`, as a user has it: from the tarball, with the packages of the registry.

const APPS = [
  { name: 'ts-memory', options: [] },
  { name: 'ts-redis', options: ['--log', 'redis'] },
  { name: 'js-memory', options: ['--js'] },
  { name: 'js-redis', options: ['--js', '--log', 'redis'] },
]
const WAIT = { timeout: 60_000 }
/** npm installs, and builds, ms. */
const PATIENCE = 900_000
/** A shell's variables, not those of a test runner. */
const PLAIN = { NODE_ENV: undefined, VITEST: undefined, FORCE_COLOR: undefined, NO_COLOR: '1' }

describeWith(
  onNode('holdline new', { host: 'Hono', client: 'Node' }),
  { 'redis-server': hasRedis ? 'redis-server' : undefined },
  () => {
    let folder: string
    let redis: RedisServer
    let tarball: string

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'holdline-new-app-'))
      redis = await startRedis()
      tarball = pack()
    }, PATIENCE)
    afterAll(async () => {
      await redis?.stop()
      rmSync(folder, { recursive: true, force: true })
    })

    test.each(APPS)(
      '$name: the app installs, passes its tests, builds, starts, and answers',
      async ({ name, options }) => {
        const app = join(folder, name)
        await passes(
          'npm',
          ['exec', '--yes', `--package=${tarball}`, '--', 'holdline', 'new', name, ...options],
          folder,
        )
        // Its own version is in no registry before it is published.
        await passes('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', tarball], app)
        if (name.startsWith('ts')) await passes('npm', ['run', 'typecheck'], app)
        await passes('npm', ['test'], app)
        await passes('npm', ['run', 'build'], app)

        const PORT = String(await freePort())
        const APP_ORIGIN = `http://127.0.0.1:${PORT}`
        const settings = { PORT, APP_ORIGIN, APP_SECRET: 'secret', APP_USERS: 'ann:ann', REDIS_URL: redis.url }
        const server = start('npm', ['start'], { cwd: app, env: { ...process.env, ...PLAIN, ...settings } })
        try {
          await expect
            .poll(
              () =>
                fetch(APP_ORIGIN).then(
                  ({ status }) => status,
                  () => server.complaint(),
                ),
              WAIT,
            )
            .toBe(200)
          const page = await (await fetch(APP_ORIGIN)).text()
          const [, script] = /<script type="module"[^>]* src="([^"]+)"/.exec(page) ?? []
          expect((await fetch(APP_ORIGIN + script)).headers.get('Content-Type')).toContain('javascript')
          expect(await answerOf(APP_ORIGIN)).toEqual(['run.started', '1 2 3 ', 'finished'])
        } finally {
          await server.stop()
        }
      },
    )
  },
)

async function passes(command: string, args: readonly string[], cwd: string) {
  const { code, output } = await run(command, args, cwd, PLAIN)
  expect([code, code === 0 ? '' : output]).toEqual([0, ''])
}

/** Logs in as ann, begins a session, and asks for three numbers. */
async function answerOf(origin: string): Promise<readonly unknown[]> {
  const post = (path: string, headers: HeadersInit, body?: object) =>
    fetch(origin + path, {
      method: 'POST',
      headers: { ...headers, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    })
  const login = await post('/api/login', {}, { name: 'ann', password: 'ann' })
  const cookie = String(login.headers.get('Set-Cookie')).split(';')[0] ?? ''
  const { id: sessionId } = await (await post('/api/users/ann/sessions', { cookie })).json()
  const connection = createConnection({ url: `${origin}/api/users/ann/chat`, headers: { cookie } })
  try {
    const heard: string[] = []
    connection.on('message', ({ type, text, reason }) => {
      if (type === 'run.started') heard.push(type, '')
      if (type === 'token') heard[1] += String(text)
      if (type === 'run.ended') heard.push(String(reason))
    })
    connection.connect()
    const { settled } = connection.send({ type: 'send', sessionId, prompt: 'count to 3', files: [] })
    expect(await settled).toMatchObject({ status: 'accepted' })
    await expect.poll(() => heard.length, WAIT).toBe(3)
    return heard
  } finally {
    connection.dispose()
  }
}
