import { chosenServer } from './chosenServer'
import { createDemo } from './createDemo'
import { HOST, listen } from './listen'

const port = readPort(process.env.PORT)
const startServer = readServer()
const demo = await createDemo({ startServer })
const { url, close } = await listen({
  fetch: demo.fetch,
  port,
  onTaken: (taken) => console.log(`Port ${taken} on ${HOST} is in use (PORT=… chooses another); trying the next one.`),
}).catch((error: unknown) => fail(error instanceof Error ? error.message : String(error)))

console.log(`holdline demo: ${url}`)

let isStopping = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void stop())

async function stop() {
  // tsx hands the terminal's signal on, so it may come twice.
  if (isStopping) return
  isStopping = true
  await demo.close()
  await close()
  process.exit(0)
}

function readServer() {
  try {
    return chosenServer(process.argv.slice(2))
  } catch (error) {
    return fail((error as Error).message)
  }
}

function readPort(given = '4173'): number {
  const value = Number(given)
  if (given.trim() !== '' && Number.isInteger(value) && value >= 0 && value <= 65_535) return value
  return fail(`PORT must be a whole number from 0 to 65535, not "${given}".`)
}

function fail(why: string): never {
  console.error(`The demo cannot start: ${why}`)
  process.exit(1)
}
