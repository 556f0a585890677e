import type { Seen } from './faults'

export const RESULTS = new URL('../../../reports/ai-sdk-page.json', import.meta.url)

export interface Measured {
  readonly name: string
  /** `name version`, of the packages that it is made of. */
  readonly versions: readonly string[]
  readonly faults: Readonly<Record<string, Seen>>
}

export interface Results {
  readonly at: string
  readonly stacks: readonly Measured[]
}
