import { existsSync, readFileSync } from 'node:fs'
import type { Cell } from './table'

/** What the last runs of the field tests have left. */
export const RESULTS = new URL('../../reports/field.json', import.meta.url)

/** How many tests of a suite ran, and how many of them passed. */
export interface SuiteResult {
  readonly suite: string
  readonly run: number
  readonly passed: number
  readonly at: string
}

export interface Results {
  /** When the cells were made. */
  readonly at: string
  readonly cells: readonly Cell[]
  readonly suites: readonly SuiteResult[]
}

export function readResults(): Results {
  const results = existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, 'utf8')) : {}
  return { at: '', cells: [], suites: [], ...results }
}
