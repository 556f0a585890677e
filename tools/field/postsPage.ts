import { createUpstream } from '../../src/adapters/fetchUpstream'

export const PROMPT = '{"type":"send","prompt":"hi"}'

/** Posts to `<base>/<place>/send` as a connection does, and tells what came of it. Runs in every engine and run-time. */
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

Object.assign(globalThis, { tryPosts })
