import { readFileSync } from 'node:fs'

/** The lines of docs/scaling.md, as they are. */
export const aclLines = (): readonly string[] =>
  readFileSync(new URL('../../../docs/scaling.md', import.meta.url), 'utf8').match(/^ACL SETUSER .*$/gm) ?? []
