import { readFileSync } from 'node:fs'

const page = readFileSync(new URL('../../../docs/proxies.md', import.meta.url), 'utf8')

/** A configuration as docs/proxies.md has it: the fence after `<!-- tested: name -->`. */
export function snippet(name: string): string {
  const [, text] = new RegExp(`<!-- tested: ${name} -->\\s+\`\`\`\\w+\\n(.*?)\`\`\``, 's').exec(page) ?? []
  if (text === undefined) throw new Error(`docs/proxies.md has no configuration named ${name}`)
  return text
}

export const snippets = () => [...page.matchAll(/<!-- tested: (\S+) -->/g)].map(([, name = '']) => name)
