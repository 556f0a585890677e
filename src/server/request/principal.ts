import { Misconfiguration } from '../errors'

/** Who makes a request. Whatever else `authenticate` returns is handed through to the other hooks. */
export interface Principal {
  readonly id: string
}

/** Characters. It is kept with each stream and is part of each receipt's name. */
const MAX_ID = 1_024

const isPrincipalId = (id: unknown): id is string => typeof id === 'string' && id !== '' && id.length <= MAX_ID

/** Not the value itself: it may be a secret, or a megabyte. */
function kindOf(value: unknown): string {
  if (value === '') return 'an empty string'
  if (typeof value === 'string') return `a string of ${value.length} characters`
  return value === null ? 'null' : `of type ${typeof value}`
}

/** What `authenticate` has returned. @throws Misconfiguration 500, which says what is wrong with it */
export function checkedPrincipal<P extends Principal>(principal: P): P {
  const { id }: { id?: unknown } = Object(principal)
  if (isPrincipalId(id)) return principal
  throw new Misconfiguration(
    500,
    'principal',
    `authenticate returned a principal whose id is ${kindOf(id)}; it must be a string of 1 to ${MAX_ID} characters`,
  )
}

export function checkPrincipalId(where: string, id: unknown) {
  if (!isPrincipalId(id)) {
    throw new TypeError(
      `${where}: the principal's id is ${kindOf(id)}; it must be a string of 1 to ${MAX_ID} characters`,
    )
  }
}
