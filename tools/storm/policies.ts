import { readOptions } from '../../src/connection/options'
import { backoffDelay, type ServerDelay } from '../../src/machine'

/** How a client comes back. */
export interface Policy {
  readonly name: string
  /** ms until the next attempt, or `null`: it gives up. `failures` is 0 after the drop itself. */
  readonly delay: (failures: number, random: () => number) => number | null
  /** What one attempt may take, ms. */
  readonly timeout: number
}

const SECOND = 1_000

/**
 * [spec] Linux, tcp_syn_retries = 6: a SYN without an answer is repeated after 1, 3, 7 … 63 s, and
 * given up after this.
 */
export const SYN_TIMEOUT = 127 * SECOND

const {
  backoff: { base, cap },
  timeouts,
} = readOptions({ url: 'https://fleet.test/api' })

/**
 * The machine's own pacing with the default options. On entering `backoff` it draws the delay first
 * and counts the attempt then, so the first delay after a stable stream has attempt 0; what the
 * server said of it (`goodbye`) holds for that one alone.
 */
export const holdline = (name = 'holdline', goodbye: ServerDelay = {}): Policy => ({
  name,
  delay: (attempt, random) => backoffDelay({ base, cap, attempt, random, server: attempt ? {} : goodbye }),
  timeout: timeouts.connect,
})

/**
 * [spec] HTML, server-sent events: the reconnection time is one value of the browser; Blink's and
 * WebKit's is 3 s (EventSource.cpp, `kDefaultReconnectDelay`), without jitter, without a limit,
 * without a timeout of its own.
 */
export const eventSource: Policy = { name: 'EventSource', delay: () => 3 * SECOND, timeout: SYN_TIMEOUT }

/**
 * socket.io-client 4.8 (build/esm/manager.js, contrib/backo2.js): 1 s, doubled, ± up to a half, and
 * only then cut off at 5 s: from the fifth failure on all wait exactly 5 s. The one random number
 * is both the size of the jitter and its sign. Never gives up; an attempt may take 20 s.
 */
export const socketIo: Policy = {
  name: 'socket.io',
  delay: (failures, random) => {
    const wait = SECOND * 2 ** Math.min(failures, 31)
    const dice = random()
    const jitter = Math.floor(dice * 0.5 * wait)
    return Math.min(Math.floor(dice * 10) % 2 ? wait + jitter : wait - jitter, 5 * SECOND)
  },
  timeout: 20 * SECOND,
}

/**
 * @microsoft/signalr 9 (src/DefaultReconnectPolicy.ts): after 0, 2, 10 and 30 s, then it gives up;
 * no jitter. Its requests may take 100 s (`IHttpConnectionOptions.timeout`,
 * dotnet/aspnetcore#34207).
 */
export const signalR: Policy = {
  name: 'SignalR',
  delay: (failures) => [0, 2 * SECOND, 10 * SECOND, 30 * SECOND][failures] ?? null,
  timeout: 100 * SECOND,
}

/** How unlikely it shall be that in any second of a drain more come than can be accepted. */
const RISK = 1e-3

/**
 * The `spread` for a drain, ms. The returns are spread evenly, so in one second as many come as a
 * Poisson distribution with the mean m = clients ÷ spread says. Its tail beyond m + z √m is at most
 * e^(-z²/2), nearly, and there are `spread` such seconds: z = √(2 ln(seconds ÷ risk)), and m + z √m
 * = rate.
 */
export function spreadFor({ clients, rate }: { readonly clients: number; readonly rate: number }): number {
  const z = Math.sqrt(2 * Math.log(Math.max(1, clients / rate) / RISK))
  const root = (Math.sqrt(z * z + 4 * rate) - z) / 2
  return Math.ceil((SECOND * clients) / (root * root))
}
