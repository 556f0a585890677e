import type { ServerReport } from '../testing/serverContract/run'

/** A failed rule that is `should` is advice: the server may have a reason. */
export type Mark = 'passed' | 'FAILED' | 'advice' | 'not promised' | 'skipped'

export function markOf({ outcome, level }: ServerReport): Mark {
  if (outcome === 'failed') return level === 'must' ? 'FAILED' : 'advice'
  return outcome === 'notPromised' ? 'not promised' : outcome
}

const COLOURS: Readonly<Record<Mark, number>> = { passed: 32, FAILED: 31, advice: 33, 'not promised': 2, skipped: 2 }
const paint = (mark: Mark, text: string, hasColour: boolean) =>
  hasColour ? `\u001b[${COLOURS[mark]}m${text}\u001b[0m` : text

/** One row of the table. What is wrong stands below it. */
export function toRow(report: ServerReport, hasColour: boolean): string {
  const mark = markOf(report)
  const rule = report.title.slice(report.number.length + 2)
  const row = `${paint(mark, mark.padEnd(12), hasColour)}  ${report.number.padEnd(3)}  ${report.topic.padEnd(11)}  ${rule}`
  if (report.why === undefined) return row
  return report.outcome === 'failed' ? `${row}\n${' '.repeat(14)}${report.why}` : `${row} (${report.why})`
}

/** How many there are of each. */
export function countsOf(reports: readonly ServerReport[]) {
  const count = (mark: Mark) => reports.filter((report) => markOf(report) === mark).length
  return {
    passed: count('passed'),
    failed: count('FAILED'),
    advice: count('advice'),
    notPromised: count('not promised'),
    skipped: count('skipped'),
  }
}

export function toSummary(reports: readonly ServerReport[]): string {
  const { passed, failed, advice, notPromised, skipped } = countsOf(reports)
  const broken = reports.filter((report) => markOf(report) === 'FAILED').map(({ number }) => number)
  const which = broken.length > 0 ? ` (${broken.join(', ')})` : ''
  return `${passed} passed, ${failed} failed${which}, ${advice} advised, ${notPromised} not promised, ${skipped} skipped`
}

export const toJson = (url: string, reports: readonly ServerReport[]) =>
  JSON.stringify({ url, ...countsOf(reports), cases: reports }, null, 2)

/** As CI systems read it. Advice fails nothing, so there it is a case that was skipped. */
export function toJUnit(url: string, reports: readonly ServerReport[]): string {
  const { failed, passed } = countsOf(reports)
  const seconds = (ms: number) => (ms / 1_000).toFixed(3)
  const time = seconds(reports.reduce((sum, { ms }) => sum + ms, 0))
  const cases = reports.map((report) => {
    const { topic, title, ms, why = '' } = report
    const mark = markOf(report)
    const head = `    <testcase classname="${xml(topic)}" name="${xml(title)}" time="${seconds(ms)}"`
    if (mark === 'passed') return `${head}/>`
    const body =
      mark === 'FAILED' ? `<failure message="${xml(why)}"/>` : `<skipped message="${xml(`${mark}: ${why}`)}"/>`
    return `${head}>${body}</testcase>`
  })
  const counts = `tests="${reports.length}" failures="${failed}" errors="0" skipped="${reports.length - failed - passed}" time="${time}"`
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${counts}>`,
    `  <testsuite name="${xml(`holdline check ${url}`)}" ${counts}>`,
    ...cases,
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n')
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

/** [spec] XML 1.0, §2.2: most control characters and lone surrogates are in no document at all. */
const xml = (text: string) =>
  text
    .replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '\uFFFD')
    .replace(/[&<>"]/g, (letter) => ENTITIES[letter] ?? letter)
    .replace(/[\t\n\r]/g, (space) => `&#${space.charCodeAt(0)};`)
