/** A character that ends a line or steers a terminal, as JSON writes it. */
const escaped = (letter: string) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`

/**
 * Text from elsewhere on one line: nothing in it reaches the terminal as a command. JSON stays the
 * same JSON.
 */
export const plain = (text: string) => text.replace(/\p{Cc}|[\u2028\u2029]/gu, escaped)
