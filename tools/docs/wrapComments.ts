import ts from 'typescript'

/** Columns of a comment, its indentation included. */
export const WIDTH = 100

const DIRECTIVE = /^(biome-ignore|@ts-|eslint|v8 ignore|\/)/
/** A line that does not go on with the one before it. */
const BEGINS = /^\s*($|[-*|@#>]|\d+\. |```|\[spec\])/

/** The lines of a file that `wrapComments` would wrap first, as `number: text`. */
export function wideComments(text: string): readonly string[] {
  if (wrapComments(text) === text) return []
  return text.split('\n').flatMap((line, index) => {
    const isWide = line.length > WIDTH && /^\s*(\/\/|\/\*\*|\*)/.test(line)
    return isWide ? [`${index + 1}: ${line.trim()}`] : []
  })
}

/** Wraps what is too wide, and leaves all else as it is. */
export function wrapComments(text: string): string {
  const wrapped = wrapLines(text.split('\n')).join('\n')
  // What looks like a comment may stand in a template.
  return wrapped === text || codeOf(wrapped) === codeOf(text) ? wrapped : text
}

function codeOf(text: string): string {
  const file = ts.createSourceFile('file.tsx', text, ts.ScriptTarget.Latest, false, ts.ScriptKind.TSX)
  return ts.createPrinter({ removeComments: true }).printFile(file)
}

function wrapLines(given: readonly string[]): readonly string[] {
  const lines = given.flatMap((line) => {
    const [, indent, text] = /^(\s*)\/\*\* (.*) \*\/$/.exec(line) ?? []
    return text !== undefined && line.length > WIDTH ? [`${indent}/**`, `${indent} * ${text}`, `${indent} */`] : [line]
  })
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? ''
    const [, mark = '', text = ''] = /^(\s*(?:\/\/|\*) )(.*)$/.exec(line) ?? []
    if (line.length <= WIDTH || mark === '' || DIRECTIVE.test(text) || /^\s*\|/.test(text)) continue
    const cut = placeToCut(text, WIDTH - mark.length)
    if (cut < 0) continue
    // The text of a list is indented below its mark.
    const [lead = ''] = /^\s*([-*] |\d+\. )?/.exec(text) ?? []
    const indent = ' '.repeat(lead.length)
    const rest = mark + indent + text.slice(cut + 1)
    lines[index] = mark + text.slice(0, cut)
    const next = lines[index + 1]
    const goesOn = next?.startsWith(mark + indent) && !BEGINS.test(next.slice(mark.length))
    if (goesOn) lines[index + 1] = `${rest} ${next?.slice(mark.length).trim()}`
    else lines.splice(index + 1, 0, rest)
  }
  return lines
}

/** The last space that fits and behind which a line may begin; -1 if there is none. */
function placeToCut(text: string, width: number): number {
  for (let at = text.lastIndexOf(' ', width); at > 0; at = text.lastIndexOf(' ', at - 1)) {
    if (text.slice(0, at).trim() === '') return -1
    if (!BEGINS.test(text.slice(at + 1))) return at
  }
  return -1
}
