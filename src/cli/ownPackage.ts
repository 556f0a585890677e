import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

export interface OwnPackage {
  readonly version: string
  /** The versions of ioredis that `holdline/server/redis` takes. */
  readonly ioredis: string
  /** The folder with the app that `holdline new` copies, in each language. */
  readonly template: string
}

/** Of the package that this file is built into, as dist/cli.js. */
export function ownPackage(): OwnPackage {
  const { version, peerDependencies } = createRequire(import.meta.url)('../package.json')
  return { version, ioredis: peerDependencies.ioredis, template: fileURLToPath(new URL('./app', import.meta.url)) }
}
