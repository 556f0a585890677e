import { mkdirSync, writeFileSync } from 'node:fs'
import type { Reporter, TestCase, TestModule, Vitest } from 'vitest/node'
import { RESULTS, readResults, type SuiteResult } from './results'
import { type Cell, formatTable } from './table'

/**
 * Prints the table of the contract at the end, and keeps what docs/runtimes.md is made of. A run of
 * some files leaves what is known of the others; one of some tests (`-t`) says nothing of a suite.
 */
export default class TableReporter implements Reporter {
  #isWhole = true

  onInit(vitest: Vitest) {
    this.#isWhole = vitest.config.testNamePattern === undefined
  }

  onTestRunEnd(modules: readonly TestModule[]) {
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const cells = tests.flatMap(toCell)
    if (cells.length > 0) console.log(`\nThe transport contract, passed/promised:\n\n${formatTable(cells)}\n`)
    if (!this.#isWhole) return
    const suites = suitesOf(tests)
    const before = readResults()
    const at = new Date().toISOString()
    const others = before.suites.filter(({ suite }) => !suites.some((one) => one.suite === suite))
    mkdirSync(new URL('.', RESULTS), { recursive: true })
    const results = {
      ...(cells.length > 0 ? { at, cells } : { at: before.at, cells: before.cells }),
      suites: [...others, ...suites.map((one) => ({ ...one, at }))],
    }
    writeFileSync(RESULTS, JSON.stringify(results))
  }
}

function toCell(test: TestCase): Cell[] {
  const { cell } = test.meta()
  return cell ? [{ ...cell, hasPassed: test.result().state === 'passed' }] : []
}

/** What was skipped has not run. */
function suitesOf(tests: readonly TestCase[]): Omit<SuiteResult, 'at'>[] {
  const suites = new Map<string, { suite: string; passed: number; run: number }>()
  for (const test of tests) {
    const { place } = test.meta()
    const { state } = test.result()
    if (!place || state === 'skipped') continue
    const counts = suites.get(place.suite) ?? { suite: place.suite, passed: 0, run: 0 }
    counts.run += 1
    if (state === 'passed') counts.passed += 1
    suites.set(place.suite, counts)
  }
  return [...suites.values()]
}
