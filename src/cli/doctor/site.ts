import { isIP } from 'node:net'

/** Whether browsers count two origins as one site. */
export const isSameSite = (one: URL, other: URL) =>
  one.protocol === other.protocol && siteOf(one.hostname) === siteOf(other.hostname)

/**
 * `chat.example.com` → `example.com`. Without the list of public suffixes it is a guess that
 * `co.uk` is one: a short name below a country.
 */
function siteOf(hostname: string): string {
  if (isIP(hostname.replace(/^\[|\]$/g, ''))) return hostname
  const labels = hostname.split('.')
  const [second = '', first = ''] = labels.slice(-2)
  return labels.slice(first.length === 2 && second.length <= 3 ? -3 : -2).join('.')
}
