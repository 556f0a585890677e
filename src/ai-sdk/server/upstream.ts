import type { UIMessage, UIMessageChunk } from 'ai'
import type { Principal } from '../../server/request/principal'
import type { UIMessageContext } from './context'

/**
 * Posts the message to a route as `DefaultChatTransport` does. What that answers in place of a
 * stream is the error that the chat shows.
 */
export async function askUpstream<M extends UIMessage, P extends Principal>(
  url: URL,
  { body, headers: given, signal }: UIMessageContext<M, P>,
  own: HeadersInit | undefined,
): Promise<Response | ReadableStream<UIMessageChunk>> {
  const headers = new Headers(given)
  new Headers(own).forEach((value, name) => void headers.set(name, value))
  headers.set('Content-Type', 'application/json')
  // [spec] a POST that follows a redirect becomes a GET.
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body), signal, redirect: 'manual' })
  if (response.ok) return response
  const errorText = (await response.text()).slice(0, 10_000) || `the chat route answered ${response.status}`
  return new ReadableStream({
    start(controller) {
      controller.enqueue({ type: 'error', errorText })
      controller.close()
    },
  })
}
