import type { Told } from '../../shared/tabsSite'

/** Told while a line, or a POST, fails. That a tab does not share is none of them. */
const OF_THE_NETWORK = /^(network|stream-failed|timeout): /

/** The rules that each life of a tab has to keep, the killed ones as well. */
export function judge(told: ReadonlyMap<string, Told>): readonly string[] {
  return [...told.values()].flatMap(({ life, flaws, resets, errors, verdicts }) => [
    ...flaws.map((flaw) => `${life}: ${flaw}`),
    ...resets.map((reset) => `${life}: ${reset}`),
    ...errors.filter((error) => !OF_THE_NETWORK.test(error)).map((error) => `${life}: ${error}`),
    ...verdicts.filter((verdict) => verdict !== 'accepted').map((verdict) => `${life}: a message ended ${verdict}`),
  ])
}

/**
 * The server has taken each message once, in the order of its tab, and every one with a verdict.
 */
export function judgeMessages(told: ReadonlyMap<string, Told>, prompts: readonly unknown[]): readonly string[] {
  const taken = new Map<string, number[]>()
  for (const prompt of prompts) {
    const [life = '', number] = String(prompt).split(' ')
    taken.set(life, [...(taken.get(life) ?? []), Number(number)])
  }
  const disorder = [...taken].flatMap(([life, numbers]) =>
    numbers.flatMap((number, index) =>
      number === index + 1 ? [] : `${life}: message ${number} was taken in place ${index + 1}`,
    ),
  )
  const lost = [...told.values()].flatMap(({ life, verdicts }) => {
    const count = taken.get(life)?.length ?? 0
    return count < verdicts.length ? [`${life}: ${verdicts.length} verdicts, and ${count} messages were taken`] : []
  })
  return [...disorder, ...lost]
}
