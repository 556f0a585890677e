import { InvalidArgumentError } from 'commander'

// The values of flags that several commands have.

export type HeaderLines = Readonly<Record<string, string>>

export function toNumber(text: string): number {
  const number = Number(text)
  if (text.trim() === '' || Number.isNaN(number)) throw new InvalidArgumentError('it is no number')
  return number
}

/** One more `Name: value`. */
export function toHeaders(line: string, before: HeaderLines = {}): HeaderLines {
  const [, name, value] = /^([\w!#$%&'*+.^`|~-]+):\s*(.*)$/.exec(line) ?? []
  if (name === undefined || value === undefined) throw new InvalidArgumentError("it is no header such as 'Name: value'")
  return { ...before, [name]: value }
}

/** undefined if there is neither. */
export function withCookie(headers: HeaderLines | undefined, cookie: string | undefined): HeaderLines | undefined {
  return cookie === undefined ? headers : { ...headers, Cookie: cookie }
}
