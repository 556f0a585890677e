/** The page whose tables are made. */
export const RUNTIMES_DOC = new URL('../../docs/runtimes.md', import.meta.url)

const marksOf = (name: string) => [`<!-- ${name}: written by npm run docs:runtimes -->`, `<!-- /${name} -->`] as const

/** What stands between the marks of that name. */
export function tableIn(text: string, name: string): string {
  const [begin, end] = marksOf(name)
  const table = text.split(begin)[1]?.split(end)
  if (table?.length !== 2) throw new Error(`docs/runtimes.md must contain ${begin} and ${end}`)
  return table[0] ?? ''
}

export function replaceTable(text: string, name: string, table: string): string {
  const [begin, end] = marksOf(name)
  return text.replace(begin + tableIn(text, name) + end, () => `${begin}\n${table}\n${end}`)
}
