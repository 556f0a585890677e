import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { connectionMachine, outboxMachine } from 'holdline/machine'
import { drawChart } from '../tools/docs/drawChart'
import type { DocFiles } from './docFiles'

export interface PageFiles {
  readonly html: string
  readonly script: string
  /** Fetched by developer tools alone. */
  readonly map: string
  readonly style: string
}

/** In the order in which they apply. They are served as one. */
export const STYLES = ['base', 'top', 'chat', 'welcome', 'tour', 'stage', 'chart', 'side', 'phone'] as const
/** Those of them that are there are linked on the page. */
const LINKED = {
  README: 'README.md',
  Guide: 'guide.md',
  Protocol: 'protocol.md',
  States: 'states.md',
  Inspect: 'inspect.md',
}
const PAGE = fileURLToPath(new URL('./page/', import.meta.url))

let files: Promise<PageFiles> | undefined

/** Made once in a process, however many demos it has. */
export function pageFiles(docs: DocFiles): Promise<PageFiles> {
  files ??= makeFiles(docs)
  return files
}

/** The page, with the charts drawn from the machines as they are now. */
async function makeFiles(docs: DocFiles): Promise<PageFiles> {
  const [html, connection, outbox, code, ...styles] = await Promise.all([
    readPage('index.html'),
    drawChart(connectionMachine),
    // It lies below the other one, which is wide enough for it.
    drawChart(outboxMachine, 'left-right'),
    bundlePage(),
    ...STYLES.map((name) => readPage(`styles/${name}.css`)),
  ])
  const inserts = { 'connection chart': connection, 'outbox chart': outbox, documentation: linksTo(docs) }
  return {
    ...code,
    html: Object.entries(inserts).reduce((page, [name, part]) => page.replace(`<!-- ${name} -->`, () => part), html),
    style: styles.join('\n'),
  }
}

const readPage = (name: string) => readFile(PAGE + name, 'utf8')

const linksTo = (docs: DocFiles) =>
  Object.entries(LINKED)
    .filter(([, name]) => docs.has(name))
    .map(([label, name]) => `<li><a href="/docs/${name}">${label}</a></li>`)
    .join('\n')

async function bundlePage() {
  const { outputFiles } = await build({
    entryPoints: [`${PAGE}page.ts`],
    bundle: true,
    write: false,
    outfile: 'page.js',
    format: 'esm',
    target: 'es2022',
    sourcemap: 'linked',
    tsconfig: fileURLToPath(new URL('../tsconfig.json', import.meta.url)),
    // Loaded on demand where there is no native WebSocket. In a browser there is.
    external: ['ws'],
    logLevel: 'error',
  })
  const textOf = (end: string) => outputFiles.find(({ path }) => path.endsWith(end))?.text ?? ''
  return { script: textOf('/page.js'), map: textOf('/page.js.map') }
}
