import type { UIMessage } from 'ai'
import { isObject, isText, type JsonObject } from '../../protocol'
import { CommandRejected } from '../../server/errors'
import { lastOf } from '../wire'

/** A message to a chat, checked as far as this module reads it. */
export interface ChatRequest {
  readonly trigger: 'submit-message' | 'regenerate-message'
  readonly body: JsonObject
  readonly headers: Headers
  readonly messages: readonly UIMessage[]
}

/**
 * The message speaks for its sender, not for the connection that it came over: what belongs to that
 * is not its to say.
 */
const OF_THE_CONNECTION =
  /^(accept-(charset|encoding)|connection|content-(length|type|encoding)|cookie2?|date|dnt|expect|forwarded|host|keep-alive|origin|referer|te|trailer|transfer-encoding|upgrade|via|x-forwarded-.*|x-real-ip|(proxy|sec)-.*)$/

/** @throws CommandRejected 400 `bad-request` */
export function parseRequest({ trigger, request: body, headers = {} }: JsonObject): ChatRequest {
  if (trigger !== 'submit-message' && trigger !== 'regenerate-message') throw badRequest()
  if (!isObject(body) || !isObject(headers)) throw badRequest()
  const last = lastOf(body)
  if (body.messages !== undefined && !Array.isArray(body.messages)) throw badRequest()
  const messages = (body.messages ?? (last ? [last] : [])) as readonly UIMessage[]
  return { trigger, body, headers: parseHeaders(headers), messages }
}

function parseHeaders(headers: JsonObject): Headers {
  const parsed = new Headers()
  for (const [name, value] of Object.entries(headers)) {
    if (!isText(value)) throw badRequest()
    if (OF_THE_CONNECTION.test(name.toLowerCase())) continue
    try {
      parsed.set(name, value)
    } catch {
      throw badRequest()
    }
  }
  return parsed
}

export const badRequest = () => new CommandRejected(400, 'bad-request')
