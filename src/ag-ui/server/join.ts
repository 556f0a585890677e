import { isText, type JsonObject } from '../../protocol'
import type { SessionEvent } from '../../server/log/sessionLog'
import type { Coalesce } from '../../server/runs'

const DELTAS = [
  'TEXT_MESSAGE_CONTENT',
  'TEXT_MESSAGE_CHUNK',
  'REASONING_MESSAGE_CONTENT',
  'REASONING_MESSAGE_CHUNK',
  'TOOL_CALL_ARGS',
  'TOOL_CALL_CHUNK',
]

/**
 * Deltas of one message or call that come in a burst are one event. One that says anything else,
 * e.g. `rawEvent`, stays for itself.
 */
export const join: Coalesce['join'] = (previous, next) => {
  const [a, b] = [deltaOf(previous), deltaOf(next)]
  if (!a || !b || rest(a) !== rest(b)) return undefined
  return { type: 'agui', event: { ...a, delta: `${a.delta}${b.delta}` } }
}

function deltaOf({ type, event }: SessionEvent & { readonly event?: unknown }): JsonObject | undefined {
  const delta: JsonObject = Object(event)
  return type === 'agui' && DELTAS.includes(String(delta.type)) && isText(delta.delta) ? delta : undefined
}

/** All but what adds up, and when it was said. */
function rest({ delta: _, timestamp: __, ...others }: JsonObject): string {
  return others.rawEvent === undefined ? JSON.stringify(others) : crypto.randomUUID()
}
