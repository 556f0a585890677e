import { Misconfiguration, Refusal, unavailable } from '../errors'
import type { Account } from '../limits/budget'
import { REQUEST_WEIGHT } from '../limits/weights'
import type { MaybePromise } from '../log/sessionLog'

/**
 * The maker of a request. All else that `authenticate` returns is handed through to the other
 * hooks.
 */
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

/**
 * Whose request it is. It is on `account` while `authenticate` is asked.
 *
 * @throws Refusal 401 if `authenticate` returns null, 503 if too many requests wait for it;
 * Misconfiguration 500
 */
export async function identify<P extends Principal>(
  request: Request,
  authenticate: (request: Request) => MaybePromise<P | null>,
  account: Account,
): Promise<P> {
  if (!account.take(REQUEST_WEIGHT)) throw unavailable()
  try {
    const principal = await authenticate(request)
    if (!principal) throw new Refusal(401, 'unauthorized')
    return checkedPrincipal(principal)
  } finally {
    account.give(REQUEST_WEIGHT)
  }
}

/** @throws Misconfiguration 500, which says what is wrong with what `authenticate` returned */
function checkedPrincipal<P extends Principal>(principal: P): P {
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
