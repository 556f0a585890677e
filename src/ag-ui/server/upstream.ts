import type { BaseEvent, RunAgentInput } from '@ag-ui/client'
import type { AguiSource } from './eventsOf'

interface Ask {
  readonly input: RunAgentInput
  readonly headers: HeadersInit | undefined
  readonly signal: AbortSignal
}

/**
 * Posts the input to an endpoint as `HttpAgent` does. What that answers in place of a stream is the
 * error that the agent is told.
 */
export async function askUpstream(url: URL, { input, headers: own, signal }: Ask): Promise<AguiSource> {
  const headers = new Headers(own)
  headers.set('Content-Type', 'application/json')
  headers.set('Accept', 'text/event-stream')
  // [spec] a POST that follows a redirect becomes a GET.
  const response = await fetch(url, {
    method: 'POST',
    headers,
    body: JSON.stringify(input),
    signal,
    redirect: 'manual',
  })
  return response.ok ? response : refused(response)
}

async function* refused(response: Response): AsyncGenerator<BaseEvent> {
  const text = (await response.text()).slice(0, 10_000)
  const message = `HTTP ${response.status}: ${text || 'the agent gave no reason'}`
  yield { type: 'RUN_ERROR', code: `http-${response.status}`, message } as unknown as BaseEvent
}
