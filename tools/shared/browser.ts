import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'
import { warnLoudly } from './warnLoudly'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome', 'msedge']
const PLACES = [
  '/usr/bin',
  '/usr/local/bin',
  '/snap/bin',
  '/opt/google/chrome',
  '/Applications/Google Chrome.app/Contents/MacOS',
  '/Applications/Chromium.app/Contents/MacOS',
]
const MAC_NAMES = ['Google Chrome', 'Chromium']

/** `CHROME_PATH`, or whatever Chromium is installed; `undefined` without one. */
export function findBrowser(): string | undefined {
  const given = process.env.CHROME_PATH
  if (given) return existsSync(given) ? given : undefined
  return find([...NAMES, ...MAC_NAMES])
}

/**
 * Chromium's headless shell, or else a whole Chromium. The shell has no windows, no extensions and
 * no back/forward cache; it takes two thirds of the processor time for the same page.
 */
export const findShell = (): string | undefined =>
  process.env.CHROME_PATH ? findBrowser() : (find(['chromium-headless-shell']) ?? findBrowser())

function find(names: readonly string[]): string | undefined {
  const places = [...PLACES, ...(process.env.PATH ?? '').split(delimiter)]
  return places.flatMap((place) => names.map((name) => join(place, name))).find((path) => existsSync(path))
}

/** On CI it is a failure. */
export function warnOfMissingBrowser() {
  warnLoudly([
    'THE BROWSER TESTS OF THE DEMO ARE SKIPPED: no Chromium was found.',
    '',
    'Install one (apt-get install chromium), or say where it is:',
    'CHROME_PATH=/path/to/chrome npm test',
  ])
}

const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export const launch = (executablePath: string): Promise<Browser> =>
  chromium.launch({
    executablePath,
    // Playwright turns it off, and the tests are to see it.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
    args: ARGUMENTS,
  })

/**
 * With Puppeteer: only the tab in front is visible, and tabs freeze. Playwright keeps all active.
 */
export async function launchPlain(executablePath: string) {
  const { default: puppeteer } = await import('puppeteer-core')
  return puppeteer.launch({ executablePath, args: ARGUMENTS })
}
