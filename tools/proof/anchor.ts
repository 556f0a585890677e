import ts from 'typescript'

/**
 * Where a planted bug goes: a declaration, and in it some code. White space, and so the formatter,
 * may change.
 */
export interface Anchor {
  /** The top-level declaration, and for a class its member, e.g. `Inbox.receive`. */
  readonly within: string
  /** Code of it, as it stands there but for white space. */
  readonly find: string
}

/** The ranges of `source` that an anchor fits; one, if it is a good one. */
export function locate(source: string, { within, find }: Anchor): readonly (readonly [start: number, end: number])[] {
  const wanted = find.replace(/\s/g, '')
  return declarationsOf(source)
    .filter(({ name }) => name === within)
    .flatMap(({ start, end }) => {
      const places = Array.from({ length: end - start }, (_, index) => start + index).filter((at) =>
        /\S/.test(source[at] ?? ''),
      )
      const code = places.map((at) => source[at]).join('')
      const found: [number, number][] = []
      for (let at = code.indexOf(wanted); at >= 0; at = code.indexOf(wanted, at + 1)) {
        found.push([places[at] as number, (places[at + wanted.length - 1] as number) + 1])
      }
      return found
    })
}

/** The declarations of a file, those of a class by member. */
export function declarationsOf(source: string) {
  const file = ts.createSourceFile('code.ts', source, ts.ScriptTarget.Latest, true)
  return file.statements.flatMap((statement) => {
    const range = ({ start, end }: { start: number; end: number }, name: string) => ({ name, start, end })
    const whole = { start: statement.getStart(), end: statement.getEnd() }
    if (ts.isClassDeclaration(statement)) {
      const own = statement.name?.text ?? ''
      return statement.members.map((member) =>
        range({ start: member.getStart(), end: member.getEnd() }, `${own}.${member.name?.getText() ?? 'constructor'}`),
      )
    }
    if (ts.isVariableStatement(statement))
      return statement.declarationList.declarations.map((declaration) => range(whole, declaration.name.getText()))
    return 'name' in statement ? [range(whole, (statement.name as ts.Identifier).text)] : []
  })
}
