import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** A small app with whatever types can look like in one. */
export const APP: Readonly<Record<string, string>> = {
  'package.json': JSON.stringify({
    name: 'holdline-app',
    private: true,
    type: 'module',
    scripts: {
      dev: 'vite',
      build: 'tsc --noEmit && vite build && vite build --ssr server/main.ts',
      start: 'node dist/server/main.js',
      typecheck: 'tsc --noEmit',
    },
    dependencies: { holdline: '*', hono: '4.13.0' },
    devDependencies: { '@types/node': '^20.0.0', typescript: '^6.0.0', vite: '8.4.0' },
  }),
  'tsconfig.json': '{ "compilerOptions": { "strict": true } }',
  'index.html': '<script type="module" src="/client/main.tsx"></script>\n',
  'README.md':
    '# The app\n\n`server/main.ts` is the server, `client/main.tsx` the page. `other.ts` is none of ours.\n\n| `npm test` | and `npm run typecheck`, in TypeScript |\n',
  'client/env.d.ts': '/// <reference types="vite/client" />\n',
  'shared/protocol.ts': `// Both sides import this.

/** A message of the page. */
export type Up = { readonly type: 'send' }

/** The path of the chat. */
export const PATH: string = '/api/chat'
`,
  'server/log.ts': `import type { Up } from '../shared/protocol.ts'
import { PATH } from '../shared/protocol.ts'

const kept: Up[] = []

export const log = { name: 'memory', path: PATH, kept }
`,
  'variants/redis/server/log.ts': `import { PATH } from '../shared/protocol.ts'

export const log = { name: 'redis', path: PATH, kept: [] as unknown[] }
`,
  'server/main.ts': `import { type Up, PATH } from '../shared/protocol'
import type { Chat } from '../client/Chat.tsx'
import { log } from './log'
import { type Later, type Never } from './later'

// Counts what it has seen.

// The events are kept by log.ts.
interface Seen<T> { // by the server
  readonly all: () => readonly T[]
}

declare global {
  var started: number
}

/** How many of them there are. */
export function count<T extends object>(
  things: readonly T[],
  {
    from = 0,
  }: {
    /** The first one. */
    from?: number
  } = {},
): number {
  /** Only here. */
  type Index = number
  const first: Index = from!
  return things.length - (first as number)
}

class Counter<T> implements Seen<T> {
  declare note: string
  private readonly things: T[] = []

  all(): readonly T[] {
    return this.things
  }
}

const seen = new Map<string, Seen<Up>>()
type Nothing = never
;[...new Counter<Nothing>().all()].forEach((thing) => seen.delete(thing satisfies string))
console.log(log.name, PATH, count<Up>([{ type: 'send' }]), 'server/main.ts')
export type { Chat, Later, Never }
`,
  'server/later.ts': `export interface Later {
  readonly later: true
}
export type Never = never
export const later = async () => (await import('./log')).log
`,
  'client/main.tsx': `import type { ReactNode } from 'react'
import { PATH } from '../shared/protocol.ts'
import { Chat } from './Chat.tsx'

// Holds what the page shows.
type Props = { children: ReactNode }

function Page({ children }: Props) {
  return (
    <main>
      {/* see client/Chat.tsx */}
      // no comment: {PATH}
      {children}
    </main>
  )
}

export const page = (
  <Page>
    <Chat initial="" />
  </Page>
)
`,
  'client/Chat.tsx': `export const Chat = <T,>({ initial }: { initial: T }) => <p>{String(initial)}</p>
`,
}

export function writeFiles(folder: string, files: Readonly<Record<string, string>>) {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
}
