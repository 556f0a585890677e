/** Skipping tests silently would look like success, so it is said loudly. */
export function warnLoudly(lines: readonly string[]) {
  const width = Math.max(...lines.map(({ length }) => length))
  const rule = '!'.repeat(width + 6)
  console.warn(['', rule, ...lines.map((line) => `!! ${line.padEnd(width)} !!`), rule, ''].join('\n'))
}
