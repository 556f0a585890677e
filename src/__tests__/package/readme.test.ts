import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '')

/** What the examples take for granted. */
const AMBIENT = `
declare function render(message: unknown): void
declare function reload(sessionId: string): void
declare function showReceipt(receipt: unknown): void
declare function showError(error: import('holdline').ConnectionError): void
declare function showDoubt(error: import('holdline').ConnectionError): void
declare function token(options: { fresh: boolean }): Promise<string>
declare function userOf(request: Request): { id: string } | null
declare function mayUse(user: { id: string }, sessionId: string, action: 'read' | 'write'): boolean
declare const agent: {
  start(sessionId: string, message: unknown): Promise<{ id: string }>
  on(name: 'token', listener: (sessionId: string, text: string) => void): void
}
declare const userId: string
declare function showBubble(id: string, message: unknown, status: import('holdline').DeliveryStatus): void
declare function removeBubble(id: string): void
declare function restoreDraft(prompt: string, error: import('holdline').ConnectionError): void
declare function markDoubtful(id: string): void
declare function login(): Promise<void>
type Delivery = import('holdline').Delivery
declare function createStore(options: import('holdline').ConnectionOptions): {
  readonly connection: import('holdline').Connection
  text(): string
}
declare const chat: import('holdline/compat').ChatConnection
declare function showNotSent(message: unknown, why: unknown): void
declare function setOnline(isOnline: boolean, why?: unknown): void
declare function loadHistory(sessionId: string): Promise<{ lastSeq: number }>
declare const harness: import('holdline/testing').Harness
declare function test(name: string, run: () => Promise<void>): void
declare function expect(value: unknown): { toBe(other: unknown): void }
declare let state: object
declare function reduce(state: object, message: unknown): object
${readFileSync(`${root}/examples/recipes/history/sqlite.d.ts`, 'utf8')}
`

/** Shared by the programs: most of their time is spent on the same files. */
const parsed = new Map<string, ts.SourceFile | undefined>()

test.each([
  ['README.md', 3],
  ['docs/interface.md', 3],
  ['docs/guide.md', 20],
  ['docs/messages.md', 5],
  ['docs/react.md', 3],
  ['docs/vue.md', 2],
  ['docs/history.md', 3],
  ['docs/server.md', 1],
  ['docs/uploads.md', 2],
  ['docs/runs.md', 5],
  ['docs/ai-sdk.md', 5],
  ['docs/ag-ui.md', 6],
  ['docs/delivery.md', 4],
  ['docs/testing.md', 6],
  ['docs/recipes.md', 8],
  ['docs/migration.md', 5],
  ['docs/inspect.md', 5],
  ['docs/transports.md', 3],
  ['docs/scaling.md', 3],
  ['docs/hosts.md', 8],
])(
  'every example of %s compiles, strictly',
  (path, least) => {
    const blocks = [...readFileSync(`${root}/${path}`, 'utf8').matchAll(/```(tsx?)\n([\s\S]*?)```/g)]
    expect(blocks.length).toBeGreaterThanOrEqual(least)
    const files = new Map<string, string>([[`${root}/readme/ambient.d.ts`, AMBIENT]])
    const excerpted: string[] = []
    for (const [index, [, kind, code = '']] of blocks.entries()) {
      // guide.test.ts holds that an excerpt stands in its file of the app: that is what compiles.
      // (Vite is not installed here.)
      const [, file] = /^\/\/ ([\w/.]+\.tsx?)\n/.exec(code) ?? []
      if (file && file !== 'vite.config.ts') excerpted.push(`${root}/examples/app/${file}`)
      if (file) continue
      // Later examples go on with what the first one made.
      const imports =
        /\bcreateConnection[(<]/.test(code) && !code.includes("from 'holdline'")
          ? "import { createConnection } from 'holdline'\n"
          : ''
      const connection =
        /\bconnection\.|= connection\b/.test(code) && !/const connection\b|{ connection/.test(code)
          ? "declare const connection: import('holdline').Connection\n"
          : ''
      // An example may say its name, and others import it.
      const name = /^\/\/ (\w+)\.ts, /.exec(code)?.[1] ?? `example${index}`
      files.set(`${root}/readme/${name}.${kind}`, `${imports}${connection}${code}\nexport {}\n`)
    }
    const { config } = ts.readConfigFile(`${root}/tsconfig.json`, ts.sys.readFile)
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
    const compilerOptions = { ...options, jsx: ts.JsxEmit.ReactJSX }
    const host = ts.createCompilerHost(compilerOptions)
    const { fileExists, readFile, getSourceFile } = host
    host.fileExists = (path) => files.has(path) || fileExists(path)
    host.directoryExists = (path) => path === `${root}/readme` || ts.sys.directoryExists(path)
    host.readFile = (path) => files.get(path) ?? readFile(path)
    host.getSourceFile = (path, language, ...rest) => {
      const text = files.get(path)
      if (text !== undefined) return ts.createSourceFile(path, text, language)
      if (!parsed.has(path)) parsed.set(path, getSourceFile(path, language, ...rest))
      return parsed.get(path)
    }
    const examples = [...files.keys(), ...new Set(excerpted)]
    const program = ts.createProgram(examples, compilerOptions, host)
    // The examples only: what they import is checked elsewhere.
    const faults = examples
      .flatMap((path) => {
        const file = program.getSourceFile(path)
        return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]
      })
      .map(
        ({ file, messageText }) =>
          `${file?.fileName.slice(root.length)}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`,
      )
    expect(faults).toEqual([])
  },
  60_000,
)
