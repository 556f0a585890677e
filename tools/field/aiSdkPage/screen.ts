import type { Page } from 'playwright-core'
import { ANSWER, WORDS } from './model'

/** All that the user sees. */
export interface Screen {
  readonly status: string
  readonly said: readonly string[]
  readonly answers: readonly string[]
}

export const readScreen = (page: Page): Promise<Screen> =>
  page.evaluate(() => {
    const texts = (role: string) =>
      [...document.querySelectorAll(`li[data-role=${role}]`)].map(({ textContent }) => (textContent ?? '').trim())
    return {
      status: document.querySelector('output')?.textContent ?? '',
      said: texts('user'),
      answers: texts('assistant').filter(Boolean),
    }
  })

export const isWhole = ({ status, answers }: Screen) =>
  status === 'ready' && answers.length === 1 && answers[0] === ANSWER

export const wordsOf = ({ answers }: Screen) => (answers.at(-1) ?? '').split(' ').filter(Boolean).length

/** In a few words, e.g. `whole, ready`. */
export function describeScreen(screen: Screen): string {
  const { status, said } = screen
  const prompt = said.length === 0 ? 'no prompt, ' : said.length > 1 ? `the prompt ${said.length} times, ` : ''
  return `${prompt}${describeAnswers(screen)}, ${status}`
}

function describeAnswers({ answers }: Screen): string {
  const [answer = ''] = answers
  if (answers.length > 1) return `${answers.length} answers`
  if (!answer) return 'no answer'
  if (answer === ANSWER) return 'whole'
  return WORDS.join('').startsWith(answer) ? 'cut' : 'garbled'
}
