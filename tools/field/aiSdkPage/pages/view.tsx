import type { ChatStatus, UIMessage } from 'ai'
import type { ReactNode } from 'react'
import { createRoot } from 'react-dom/client'

export const chatId = new URLSearchParams(location.search).get('chat') ?? ''
export const history: UIMessage[] = JSON.parse(document.getElementById('history')?.textContent ?? '[]')

export interface ViewProps {
  readonly messages: readonly UIMessage[]
  readonly status: ChatStatus
  readonly error: Error | undefined
  send(): void
  stop(): void
  regenerate(): void
}

/** The same for every stack. Parts are told apart by a bar. */
export function View({ messages, status, error, send, stop, regenerate }: ViewProps) {
  return (
    <>
      <ol>
        {messages.map(({ id, role, parts }) => (
          <li key={id} data-role={role}>
            {parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('|')}
          </li>
        ))}
      </ol>
      <output>{status}</output>
      <em>{error?.message}</em>
      <button type="button" id="send" onClick={send} />
      <button type="button" id="stop" onClick={stop} />
      <button type="button" id="retry" onClick={regenerate} />
    </>
  )
}

export const show = (page: ReactNode) => createRoot(document.getElementById('root') as HTMLElement).render(page)
