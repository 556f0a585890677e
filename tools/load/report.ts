import { availableParallelism, loadavg } from 'node:os'
import { quantile } from './measure'
import type { Options } from './options'
import type { Summary } from './run'

export const isFlawless = ({ lost, doubled, disordered, failed }: Summary) => lost + doubled + disordered + failed === 0

export function describe(summary: Summary, { clients, sessions, rate, transport }: Options): string {
  const { connected, closed, published, failed, expected, lost, doubled, disordered, latencies, seconds } = summary
  const delivered = expected - lost
  const reached = published / seconds
  const rows = [
    [
      'connected',
      `${count(connected)} clients (${transport}), ${count(sessions)} sessions; lines lost meanwhile: ${closed}`,
    ],
    [
      'published',
      `${count(published)} events in ${seconds.toFixed(1)} s, ${count(reached)} per second; refused: ${failed}`,
    ],
    [
      'delivered',
      `${count(delivered)} of ${count(expected)}; lost ${lost}, doubled ${doubled}, out of order ${disordered}`,
    ],
    ['latency', `p50 ${ms(quantile(latencies, 0.5))}, p99 ${ms(quantile(latencies, 0.99))}, max ${ms(latencies.max)}`],
    [
      'server',
      `CPU ${shares(summary.nodeCpu)}; ${kib(summary.rss, clients)} KiB of RSS per stream, of all that it has grown by`,
    ],
    ['clients', `CPU ${shares(summary.clientCpu)}`],
    // With more to do than cores, latencies are about the machine.
    ['machine', `${availableParallelism()} cores, load average ${loadavg()[0]?.toFixed(1)}`],
  ]
  const notes = [
    reached < rate * 0.95 && 'The producers did not reach the rate: the server is at its limit.',
    Math.max(...summary.clientCpu) > 0.8 &&
      'A client process had next to no CPU left: the latencies are those of the clients, not of the server.',
  ]
  return [...rows.map(([title = '', text]) => `${title.padEnd(10)} ${text}`), ...notes.filter(Boolean)].join('\n')
}

const count = (value: number) => Math.round(value).toLocaleString('en')
const ms = (value: number) => `${value.toFixed(value < 10 ? 2 : 0)} ms`
const shares = (cpu: readonly number[]) => `${cpu.map((share) => (share * 100).toFixed(0)).join(' + ')} % of a core`
const kib = (rss: readonly number[], clients: number) =>
  (rss.reduce((total, bytes) => total + bytes, 0) / clients / 1_024).toFixed(1)
