/** One that the host has closed throws when it is looked at, and is one all the same. */
function isRequest(given: unknown): boolean {
  try {
    return typeof Object(given).headers?.get === 'function'
  } catch {
    return true
  }
}

/**
 * Throws a TypeError if a host has handed over its own kind of request, such as Node's
 * IncomingMessage.
 */
export function checkRequest(who: string, given: unknown, remedy: string) {
  if (isRequest(given)) return
  const name = Object(given) === given ? Object(given).constructor?.name || 'an object' : String(given)
  throw new TypeError(`${who} takes a web-standard Request, and was given ${name}: ${remedy} (docs/hosts.md)`)
}
