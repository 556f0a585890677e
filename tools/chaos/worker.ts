import { type RunOptions, run } from './run'

process.on('message', async (options: RunOptions) => process.send?.(await run(options)))
