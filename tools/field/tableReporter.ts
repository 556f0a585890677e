import { mkdirSync, writeFileSync } from 'node:fs'
import type { Reporter, TestCase, TestModule } from 'vitest/node'
import { type Cell, formatTable } from './table'

export const RESULTS = new URL('../../reports/field.json', import.meta.url)

/** Prints the table at the end, and keeps what it is made of for `runtimesDoc.ts`. */
export default class TableReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]) {
    const cells = modules.flatMap((module) => [...module.children.allTests()].flatMap(toCell))
    if (!cells.length) return
    mkdirSync(new URL('.', RESULTS), { recursive: true })
    writeFileSync(RESULTS, JSON.stringify({ at: new Date().toISOString(), cells }))
    console.log(`\nThe transport contract, passed/promised:\n\n${formatTable(cells)}\n`)
  }
}

function toCell(test: TestCase): Cell[] {
  const { cell } = test.meta()
  return cell ? [{ ...cell, hasPassed: test.result().state === 'passed' }] : []
}
