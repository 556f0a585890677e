import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { connectionMachine, outboxMachine } from 'holdline/machine'
import { drawChart } from '../tools/docs/drawChart'

export interface PageFiles {
  readonly html: string
  readonly script: string
  readonly styles: Readonly<Record<(typeof STYLES)[number], string>>
}

export const STYLES = ['style.css', 'chart.css'] as const
const PAGE = fileURLToPath(new URL('./page/', import.meta.url))

let files: Promise<PageFiles> | undefined

/** Made once in a process, however many demos it has. */
export function pageFiles(): Promise<PageFiles> {
  files ??= makeFiles()
  return files
}

/** The page, with the charts drawn from the machines as they are now. */
async function makeFiles(): Promise<PageFiles> {
  const [html, style, chart, connection, outbox, script] = await Promise.all([
    readPage('index.html'),
    readPage('style.css'),
    readPage('chart.css'),
    drawChart(connectionMachine),
    drawChart(outboxMachine),
    bundlePage(),
  ])
  return {
    html: html.replace('<!-- connection chart -->', connection).replace('<!-- outbox chart -->', outbox),
    script,
    styles: { 'style.css': style, 'chart.css': chart },
  }
}

const readPage = (name: string) => readFile(PAGE + name, 'utf8')

async function bundlePage(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [`${PAGE}page.ts`],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    sourcemap: 'inline',
    tsconfig: fileURLToPath(new URL('../tsconfig.json', import.meta.url)),
    // Loaded on demand where there is no native WebSocket. In a browser there is.
    external: ['ws'],
    logLevel: 'error',
  })
  return outputFiles[0]?.text ?? ''
}
