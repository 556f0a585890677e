/** What every model of these tests says, whatever it is asked. */
export const WORDS = Array.from({ length: 120 }, (_, at) => `w${at} `)
export const ANSWER = WORDS.join('').trim()
/** Between two words, ms: an answer takes about five seconds. */
const PACE = 40

/** Says one word after the other, until it is aborted. */
export async function* say(signal: AbortSignal): AsyncGenerator<string> {
  for (const word of WORDS) {
    await new Promise((resolve) => setTimeout(resolve, PACE))
    if (signal.aborted) return
    yield word
  }
}
