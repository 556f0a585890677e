import { createConnection } from '../../src'
import { createUpstream } from '../../src/adapters/fetchUpstream'

export const PROMPT = '{"type":"send","prompt":"hi"}'

/**
 * Posts to `<base>/<place>/send` as a connection does, and tells what came of it. Runs in every
 * engine and run-time.
 */
export async function tryPosts(base: string, places: readonly string[]) {
  const outcomes: Record<string, unknown> = {}
  for (const place of places) {
    const upstream = createUpstream({
      url: `${base}/${place}`,
      fetch: (...given) => fetch(...given),
      headers: { 'x-secret': 'secret' },
      clock: {
        now: () => Date.now(),
        setTimeout: (callback, ms) => setTimeout(callback, ms),
        clearTimeout: (timer) => clearTimeout(timer as never),
      },
      context: () => ({ attempt: 0, connectionId: 'c1' }),
    })
    const post = () =>
      upstream.post('send', PROMPT, new AbortController(), { timeout: 10_000, idempotencyKey: 'k1' }).then(
        (receipt) => ({ receipt }),
        ({ code, message }) => ({ code, message }),
      )
    outcomes[place] = [await post(), await post()]
  }
  return outcomes
}

/**
 * Says farewell while another request of the page takes most of what all that outlive it have
 * together.
 */
export async function tryFarewell(base: string) {
  const cursors = Array.from({ length: 40 }, (_, index) => ({ sessionId: `s${index}`.padEnd(200, '-'), lastSeq: 1 }))
  const connection = createConnection({ url: `${base}/line`, cursors, pageLifecycle: false })
  connection.connect()
  while (!connection.isOpen) await new Promise((resolve) => setTimeout(resolve, 10))
  void fetch(`${base}/never`, { method: 'POST', keepalive: true, body: 'x'.repeat(60_000) }).catch(() => {})
  await new Promise((resolve) => setTimeout(resolve, 100))
  connection.suspend()
}

Object.assign(globalThis, { tryPosts, tryFarewell })
