import { parseArgs } from 'node:util'
import type { RunOptions } from './run'

export const USAGE = `npm run cluster -- [--clients 200] [--kills 20] [--cuts 50] [--seconds 90] [--seed 1]
npm run cluster -- --restart-redis [--clients 200] [--seconds 30] [--seed 1]
npm run cluster -- --log shards [--lone] [--restart-redis] [--moves 0] [--kills 0] [--cuts 0] […]
npm run cluster -- --log memory [--clients 200] [--seconds 30] [--seed 1]

--kills          SIGKILLs of nodes
--cuts           times that connections to Redis are cut
--seconds        how long all that takes; afterwards each node is drained and replaced
--restart-redis  Redis comes back with an empty disk in the middle of it
--log shards     a Redis Cluster of three shards with a replica each, or --lone: without;
                 --restart-redis kills a primary, and --moves so many slots move to another shard
--log memory     one node, nothing is done to it: what the checker says then is wrong with the checker`

/** @throws Error that names the option */
export function readOptions(args: readonly string[]): RunOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      clients: { type: 'string', default: '200' },
      kills: { type: 'string' },
      cuts: { type: 'string' },
      seconds: { type: 'string' },
      moves: { type: 'string' },
      lone: { type: 'boolean', default: false },
      seed: { type: 'string', default: '1' },
      log: { type: 'string', default: 'redis' },
      'restart-redis': { type: 'boolean', default: false },
    },
  })
  const { log, lone: isLone, 'restart-redis': hasRestart } = values
  const number = (name: 'clients' | 'kills' | 'cuts' | 'seconds' | 'moves' | 'seed', preset: number, least = 0) => {
    const text = values[name] ?? String(preset)
    if (/^\d+$/.test(text) && Number(text) >= least) return Number(text)
    throw new Error(`--${name} must be a whole number from ${least}, not '${text}'`)
  }
  if (log !== 'redis' && log !== 'shards' && log !== 'memory')
    throw new Error(`--log must be redis, shards or memory, not '${log}'`)
  const isQuiet = log !== 'redis' || hasRestart
  const options = {
    log,
    clients: number('clients', 200, 1),
    kills: number('kills', isQuiet ? 0 : 20),
    cuts: number('cuts', isQuiet ? 0 : 50),
    restarts: Number(hasRestart),
    moves: number('moves', 0),
    isLone,
    seconds: number('seconds', isQuiet ? 30 : 90, 1),
    seed: number('seed', 1),
  } as const
  if (log === 'memory' && options.kills + options.cuts + options.restarts > 0)
    throw new Error('--log memory has neither nodes to spare nor a Redis: no --kills, --cuts or --restart-redis')
  if (log !== 'shards' && options.moves > 0) throw new Error('--moves needs --log shards')
  if (log !== 'shards' && isLone) throw new Error('--lone needs --log shards')
  return options
}
