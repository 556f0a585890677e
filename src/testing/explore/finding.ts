import { INVARIANTS, type Invariant, type Violation } from '../oracle/oracle'
import { type ReplayOptions, replay } from './replay'

export interface Finding {
  readonly invariant: Invariant
  readonly message: string
  /** The shortest sequence that shows it. */
  readonly path: readonly string[]
  /** The source text of a test that shows it. */
  readonly test: string
}

/** A violation, whenever it was seen. */
export type Fault = Pick<Violation, 'invariant' | 'message'>
export const isSame = (a: Fault, b: Fault) => a.invariant === b.invariant && a.message === b.message

/** The letters without which the invariant is not broken. */
export async function shorten(path: readonly string[], invariant: Invariant, options: ReplayOptions) {
  const breaks = (shorter: readonly string[]) =>
    replay(shorter, options)
      .then((world) => world.heals())
      .then(
        () => false,
        (error: Error) => error.message.includes(`  ${invariant} `),
      )
  let shortest = path
  for (let index = path.length - 1; index >= 0; index--) {
    const shorter = shortest.filter((_, at) => at !== index)
    if (await breaks(shorter)) shortest = shorter
  }
  return shortest
}

/** The options of a world that JSON can tell. */
const PLAIN = ['features', 'heartbeat', 'event', 'message', 'atMost'] as const

export function testOf(path: readonly string[], { invariant, message }: Violation, options: ReplayOptions): string {
  const own = (['create', 'alphabet', 'onStep'] as const).filter((name) => options[name]).join(', ')
  const plain = PLAIN.flatMap((name) =>
    options[name] === undefined ? [] : `${name}: ${JSON.stringify(options[name])}`,
  )
  return `import { replay } from 'holdline/testing'
import { test } from 'vitest'
${own && `// To be in scope here, under these names, as they were given to explore(): ${own}\n`}
// ${message}
test('${invariant}: ${INVARIANTS[invariant]}', async () => {
  const world = await replay(
    ${JSON.stringify(path)},
    { ${[own, ...plain].filter(Boolean).join(', ')} },
  )
  await world.heals()
})
`
}
