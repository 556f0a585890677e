/**
 * What the simulated agent says. A pure function of the prompt, so that a test knows every token
 * beforehand.
 */

export type Step =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'tool'
      readonly name: string
      readonly input: string
      /** Told one after the other, evenly spread over the run. */
      readonly notes: readonly string[]
      readonly result: string
    }

const INTRODUCTION = `I am a simulated agent. I have little to say, but I say it token by token, about forty a second, \
and every token is a numbered event of this conversation.

Drop the stream while I talk. The page opens a fresh one and tells the server the last number that it has applied; the \
server replays what came after it. This sentence goes on where it was cut, without a missing or a doubled word.

Write while the line is down, too. Your message waits in the outbox, leaves once the resume has succeeded, and carries \
an id that makes it count once, however often it is posted.`

const STORY = [
  'the keeper lit the lamp before the fog came in',
  'a ship asked for its bearing, twice, to be sure',
  'the wire to the mainland went quiet for a while',
  'nobody on the island noticed, because the log kept its numbers',
  'the wire came back, and the mainland asked from where to go on',
  'the keeper read out the lines that the mainland had missed',
  'not one of them was read out twice',
  'a letter that had waited on the desk went out with the first boat',
]
const STORY_LINES = 100

export function scriptFor(prompt: string): readonly Step[] {
  const opening = `You wrote “${shorten(prompt)}”. `
  if (/\btools?\b/i.test(prompt)) {
    return [
      { kind: 'text', text: `${opening}That takes a tool; let me run it. It is slow on purpose.` },
      {
        kind: 'tool',
        name: 'survey_harbour',
        input: '{ "depth": "all berths" }',
        notes: ['lowering the sounding line', 'berths 1 to 4', 'berths 5 to 9', 'adding up'],
        result: '9 berths, 3 free, shallowest 4.2 m',
      },
      {
        kind: 'text',
        text: 'The tool is done: three of nine berths are free, and the shallowest has 4.2 m. Its result came down the same stream, numbered like every token, so a reload in the middle of the run would have found it again.',
      },
    ]
  }
  if (/\b(long|story|stories)\b/i.test(prompt)) {
    const lines = Array.from(
      { length: STORY_LINES },
      (_, index) => `${index + 1} of ${STORY_LINES}: ${STORY[index % STORY.length]}.`,
    )
    return [{ kind: 'text', text: `${opening}Here is a long story; count its lines.\n\n${lines.join('\n')}` }]
  }
  if (/\b(short|brief|briefly)\b/i.test(prompt)) return [{ kind: 'text', text: `${opening}Understood.` }]
  return [{ kind: 'text', text: opening + INTRODUCTION }]
}

/** A word with the space behind it. Joined, they are the text again. */
export const tokensOf = (text: string): readonly string[] => text.match(/\S+\s*|\s+/g) ?? []

const shorten = (prompt: string) => {
  const line = prompt.trim().replaceAll(/\s+/g, ' ')
  return line.length > 60 ? `${line.slice(0, 59)}…` : line
}
