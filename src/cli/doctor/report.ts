import { plain } from '../plain'
import type { Finding } from './finding'

const MARKS: Readonly<Record<Finding['level'], string>> = {
  ok: 'ok',
  advice: 'advice',
  problem: 'PROBLEM',
  unknown: 'not tried',
}

/** One line. */
export function toLine({ topic, level, seen, expected, fix }: Finding): string {
  const parts = [seen, expected && `expected: ${expected}`, fix && `fix: ${fix}`].filter(Boolean)
  return plain(`${MARKS[level].padEnd(9)}  ${topic.padEnd(11)}  ${parts.join('; ')}`)
}

export function countsOf(findings: readonly Finding[]) {
  const count = (level: Finding['level']) => findings.filter((finding) => finding.level === level).length
  return { problems: count('problem'), advice: count('advice') }
}

export function toSummary(findings: readonly Finding[]): string {
  const { problems, advice } = countsOf(findings)
  const number = (count: number, what: string) => `${count || 'no'} ${what}${count === 1 ? '' : 's'}`
  return `${number(problems, 'problem')}, ${number(advice, 'hint')}`
}
