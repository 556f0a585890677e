import type { Edge, Expand } from '../../../src/testing/explore/expand'
import type { Finding } from '../../../src/testing/explore/finding'
import { hash } from '../../../src/testing/explore/fingerprint'
import { calm } from './calm'
import { fingerprint } from './fingerprint'
import { lettersFor, RESTARTS, type TabAlphabet } from './letters'
import { type BrowserOptions, type Fault, ModelBrowser } from './modelBrowser'
import { judge } from './promises'

export interface TabOptions extends BrowserOptions {
  /** The server may lose what it had. Default: false. */
  readonly restarts?: boolean
}

export const alphabetOf = ({ tabs, restarts }: TabOptions): TabAlphabet => ({
  ...lettersFor(Object.keys(tabs)),
  ...(restarts && RESTARTS),
})

/**
 * Carries out a sequence of letters, each of them when everything has arrived that is not held.
 * Ends at the first fault.
 */
export async function replayTabs(path: readonly string[], options: TabOptions): Promise<ModelBrowser> {
  const browser = new ModelBrowser(options)
  const alphabet = alphabetOf(options)
  for (const letter of path) {
    if (!alphabet[letter]?.isEnabled(browser)) throw new Error(`tabs: "${letter}" cannot happen here`)
    await step(browser, letter, alphabet)
    if (browser.faults.length) break
  }
  return browser
}

export async function step(browser: ModelBrowser, letter: string, alphabet: TabAlphabet) {
  try {
    await alphabet[letter]?.act(browser)
    await browser.settle()
    judge(browser)
  } catch (cause) {
    browser.report('app', `${letter}: ${cause}`)
  }
}

/** What is wrong at the end of a path, or after the calm that follows it. */
export async function faultsAfter(path: readonly string[], options: TabOptions): Promise<readonly Fault[]> {
  const browser = await replayTabs(path, options)
  if (!browser.faults.length) await calm(browser)
  return browser.faults
}

export const isSame = (one: Fault, other: Fault) =>
  one.invariant === other.invariant && generalised(one.message) === generalised(other.message)

/** The same fault in another tab, or with other numbers. */
const generalised = (message: string) => message.replace(/\d+/g, '0').replace(/\b[abc]\b/g, 'x')

/** The letters without which it does not happen. */
async function shorten(path: readonly string[], fault: Fault, options: TabOptions) {
  const shows = (shorter: readonly string[]) =>
    faultsAfter(shorter, options).then(
      (faults) => faults.some(({ invariant }) => invariant === fault.invariant),
      () => false,
    )
  let shortest = path
  for (let index = path.length - 1; index >= 0; index--) {
    const shorter = shortest.filter((_, at) => at !== index)
    if (await shows(shorter)) shortest = shorter
  }
  return shortest
}

/** How a path is shown again. */
const commandFor = (path: readonly string[], set: string) =>
  `npm run explore -- tabs --set ${set} --path ${JSON.stringify(path.join(', '))}`

/** Tells what is wrong with a browser, each fault in its shortest form. Nothing that is known. */
export function createFinder(options: TabOptions, set: string) {
  const known: Fault[] = []
  return async ({ faults }: ModelBrowser, path: readonly string[]): Promise<readonly Finding[]> => {
    const findings: Finding[] = []
    for (const fault of faults.filter((one) => !known.some((other) => isSame(one, other)))) {
      known.push(fault)
      const shortest = await shorten(path, fault, options)
      findings.push({ ...fault, path: shortest, test: `${fault.message}\n  ${commandFor(shortest, set)}` })
    }
    return findings
  }
}

/** Works out what follows from a path. `set` is the name of the options. */
export function createTabsExpand(options: TabOptions, set: string): Expand {
  const alphabet = alphabetOf(options)
  const calmed = new Set<number>()
  const find = createFinder(options, set)

  async function expand(path: readonly string[]): Promise<readonly Edge[]> {
    const edges: Edge[] = []
    let browser = await replayTabs(path, options)
    let trail = path
    const here = hash(fingerprint(browser))
    for (const letter of Object.keys(alphabet)) {
      if (!alphabet[letter]?.isEnabled(browser)) continue
      await step(browser, letter, alphabet)
      trail = [...trail, letter]
      const state = browser.faults.length ? undefined : hash(fingerprint(browser))
      // It changed nothing: the browser is as good as new.
      if (state === here) {
        edges.push({ letter, state, findings: [] })
        continue
      }
      if (state !== undefined && !calmed.has(state)) {
        calmed.add(state)
        await calm(browser)
      }
      edges.push({ letter, ...(state !== undefined && { state }), findings: await find(browser, trail) })
      browser = await replayTabs(path, options)
      trail = path
    }
    return edges
  }

  return (path) => withoutStacks(() => expand(path))
}

/** Most of what fails here is meant to fail; nobody reads the stacks, and they take their time. */
export async function withoutStacks<Result>(run: () => Promise<Result>): Promise<Result> {
  const before = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  return run().finally(() => {
    Error.stackTraceLimit = before
  })
}
