import { findBrowser } from '../../shared/browser'
import { findTool } from '../tools'
import { launchChromium } from './chromium'
import type { Engine } from './engine'
import { launchFirefox } from './firefox'
import { findMiniBrowser, launchWebKit } from './webkit'

export interface EngineEntry {
  readonly name: string
  /** What it takes, and where that is. */
  readonly tools: Readonly<Record<string, string | undefined>>
  /** Only where nothing is missing. */
  launch(): Promise<Engine>
}

const [chromium, firefox] = [findBrowser(), findTool('firefox-esr') ?? findTool('firefox')]
const [miniBrowser, driver, xvfb] = [findMiniBrowser(), findTool('WebKitWebDriver'), findTool('Xvfb')]

export const ENGINES: readonly EngineEntry[] = [
  { name: 'Chromium', tools: { chromium }, launch: () => launchChromium(chromium ?? '') },
  { name: 'Firefox', tools: { 'firefox-esr': firefox }, launch: () => launchFirefox(firefox ?? '') },
  {
    name: 'WebKit',
    tools: { MiniBrowser: miniBrowser, WebKitWebDriver: driver, Xvfb: xvfb },
    launch: () => launchWebKit(miniBrowser ?? '', { driver: driver ?? '', xvfb: xvfb ?? '' }),
  },
]
