import { blankSourceFile } from 'ts-blank-space'
import ts from 'typescript'

/** How names of files read in JavaScript. */
export interface Names {
  /** Of an import in the file `from`. */
  imported(from: string, specifier: string): string
  /** In any other string, and in a comment. */
  mentioned(text: string): string
}

/** Spaces and comments. */
const TRIVIA = /^(\s|\/\/.*|\/\*[\s\S]*?\*\/)+/

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/**
 * The module without its types, and without the comments that explain them. Spaces stay where types
 * were: format it. Throws at an enum, a namespace or a parameter property: such code is no
 * JavaScript with types.
 */
export function stripTypes(path: string, text: string, names: Names): string {
  const source = parse(path, text)
  const edits = [...editsOf(source, source, names), ...commentsOf(source).map((range) => mention(source, range, names))]
  const faults: string[] = []
  const result = parse(path, apply(text, edits))
  const code = blankSourceFile(result, (node) => {
    const { line } = result.getLineAndCharacterOfPosition(node.getStart(result))
    faults.push(`${path}, about line ${line + 1}: ${ts.SyntaxKind[node.kind]} is more than a type`)
  })
  if (faults.length) throw new Error(faults.join('\n'))
  return code.trimStart()
}

function parse(path: string, text: string): ts.SourceFile {
  const kind = path.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS
  return ts.createSourceFile(path, text, ts.ScriptTarget.ESNext, true, kind)
}

function editsOf(source: ts.SourceFile, node: ts.Node, names: Names): readonly Edit[] {
  if (ts.isStatement(node) && isOfTypes(node)) return [cut(source, node)]
  if (ts.isStringLiteral(node)) {
    const { text } = node
    const name = isSpecifier(node) ? names.imported(source.fileName, text) : names.mentioned(text)
    // Between its quotes.
    return name === text ? [] : [{ start: node.getStart(source) + 1, end: node.end - 1, text: name }]
  }
  const edits: Edit[] = []
  ts.forEachChild(node, (child) => {
    edits.push(...editsOf(source, child, names))
  })
  return edits
}

const isSpecifier = ({ parent }: ts.StringLiteral) =>
  ts.isImportDeclaration(parent) ||
  ts.isExportDeclaration(parent) ||
  (ts.isCallExpression(parent) && parent.expression.kind === ts.SyntaxKind.ImportKeyword)

/** Nothing of it is left at run time. */
function isOfTypes(node: ts.Statement): boolean {
  if (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return true
  if (ts.isImportDeclaration(node)) {
    const { importClause } = node
    if (!importClause || importClause.name) return false
    return importClause.isTypeOnly || areTypes(importClause.namedBindings)
  }
  if (ts.isExportDeclaration(node)) return node.isTypeOnly || areTypes(node.exportClause)
  const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : []
  return modifiers.some(({ kind }) => kind === ts.SyntaxKind.DeclareKeyword)
}

function areTypes(names: ts.NamedImportBindings | ts.NamedExportBindings | undefined): boolean {
  if (!names || !(ts.isNamedImports(names) || ts.isNamedExports(names))) return false
  return names.elements.length > 0 && [...names.elements].every(({ isTypeOnly }) => isTypeOnly)
}

/**
 * With the comments that belong to it: those above, without an empty line between, and the one
 * behind. A comment above an import may speak of the whole file.
 */
function cut({ text }: ts.SourceFile, node: ts.Statement): Edit {
  let start = node.getStart()
  if (!ts.isImportDeclaration(node)) {
    const above = ts.getLeadingCommentRanges(text, node.getFullStart()) ?? []
    for (const { pos, end } of above.toReversed()) {
      if (/\n\s*\n/.test(text.slice(end, start))) break
      start = pos
    }
  }
  const end = ts.getTrailingCommentRanges(text, node.end)?.at(-1)?.end ?? node.end
  // The line behind it would go on with the one before it.
  if (/^[([/+\-`]/.test(text.slice(end).replace(TRIVIA, ''))) return { start, end, text: ';' }
  const [lineEnd = ''] = /^ *\n/.exec(text.slice(end)) ?? []
  return { start, end: end + lineEnd.length, text: '' }
}

/** Those around every token, but for text that only looks like one. */
function commentsOf(source: ts.SourceFile): readonly ts.CommentRange[] {
  const found = new Map<number, ts.CommentRange>()
  const visit = (node: ts.Node) => {
    if (node.kind === ts.SyntaxKind.JsxText) return
    const above = ts.getLeadingCommentRanges(source.text, node.pos) ?? []
    const behind = ts.getTrailingCommentRanges(source.text, node.pos) ?? []
    for (const range of [...above, ...behind]) found.set(range.pos, range)
    node.getChildren(source).forEach(visit)
  }
  visit(source)
  return [...found.values()]
}

function mention({ text }: ts.SourceFile, { pos, end }: ts.CommentRange, names: Names): Edit {
  return { start: pos, end, text: names.mentioned(text.slice(pos, end)) }
}

/** An edit inside of another one, which is of something that is cut, is none. */
function apply(text: string, edits: readonly Edit[]): string {
  let result = ''
  let done = 0
  for (const edit of edits.toSorted((a, b) => a.start - b.start || b.end - a.end)) {
    if (edit.start < done) continue
    result += text.slice(done, edit.start) + edit.text
    done = edit.end
  }
  return result + text.slice(done)
}
