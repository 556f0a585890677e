import { type ChangeEvent, type FormEvent, type KeyboardEvent, useEffect, useId, useRef, useState } from 'react'
import type { Upload } from '../shared/protocol'
import type { Answer } from '../shared/transcript'
import { useCall, useLine } from './connection'
import type { Place } from './Messages'
import { upload } from './upload'

/** A file that was chosen, and how far it has got. */
type Attachment = { readonly key: string; readonly name: string } & (
  | { readonly state: 'uploading' }
  | { readonly state: 'ready'; readonly upload: Upload }
  | { readonly state: 'failed'; readonly why: string }
)

/** Of one message, as shared/protocol.ts has it. */
const MAX_FILES = 8
const TYPES = 'image/png,image/jpeg,image/gif,image/webp,application/pdf,text/*,.md,.csv'

interface ComposerProps {
  readonly place: Place
  /** The one that a stop ends. */
  readonly answering: Answer | undefined
}

/** Sends at any time, also without a connection: then it waits. */
export function Composer({ place, answering }: ComposerProps) {
  const line = useLine()
  const [prompt, setPrompt] = useState('')
  const { attachments, add, remove, clear } = useAttachments(place)
  const text = useRef<HTMLTextAreaElement>(null)
  const id = useId()
  useEffect(() => text.current?.focus(), [])

  const files = attachments.flatMap((attachment) => (attachment.state === 'ready' ? [attachment.upload] : []))
  const isReady = files.length === attachments.length && (prompt.trim() !== '' || files.length > 0)

  function send(event: FormEvent) {
    event.preventDefault()
    if (!isReady) return
    line.send({ type: 'send', sessionId: place.sessionId, prompt: prompt.trim(), files })
    setPrompt('')
    clear()
    text.current?.focus()
  }

  function onKeyDown(event: KeyboardEvent<HTMLTextAreaElement>) {
    // Enter also ends what an input method composes.
    if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) send(event)
  }

  return (
    <form className="composer" onSubmit={send}>
      <Attachments attachments={attachments} remove={remove} />
      <label className="hidden" htmlFor={id}>
        Message
      </label>
      <textarea
        id={id}
        ref={text}
        rows={2}
        maxLength={20_000}
        placeholder="Message. Enter sends, Shift and Enter begins a line."
        value={prompt}
        onChange={(event) => setPrompt(event.target.value)}
        onKeyDown={onKeyDown}
      />
      <div className="choices">
        <FilePicker add={add} />
        {answering && (
          <button
            type="button"
            onClick={() => line.send({ type: 'stop', sessionId: place.sessionId, run: answering.id })}
          >
            Stop
          </button>
        )}
        <button type="submit" aria-disabled={!isReady}>
          Send
        </button>
      </div>
    </form>
  )
}

function FilePicker({ add }: { add: (files: FileList | null) => void }) {
  const id = useId()
  function pick({ target }: ChangeEvent<HTMLInputElement>) {
    add(target.files)
    // Else the same file could not be chosen again.
    target.value = ''
  }
  return (
    <>
      <input id={id} className="hidden" type="file" multiple accept={TYPES} onChange={pick} />
      <label className="button" htmlFor={id}>
        Attach files
      </label>
    </>
  )
}

function Attachments({ attachments, remove }: { attachments: readonly Attachment[]; remove: (key: string) => void }) {
  if (attachments.length === 0) return null
  return (
    <ul className="attachments" aria-label="Files to send">
      {attachments.map((attachment) => (
        <li key={attachment.key} className={attachment.state}>
          {attachment.name}
          {attachment.state === 'uploading' && <span role="status"> is uploaded …</span>}
          {attachment.state === 'failed' && <span role="alert"> was not uploaded: {attachment.why}</span>}
          <button type="button" onClick={() => remove(attachment.key)} aria-label={`Remove ${attachment.name}`}>
            ×
          </button>
        </li>
      ))}
    </ul>
  )
}

let lastKey = 0

/** Files are uploaded when they are chosen; the message names them. docs/uploads.md says why. */
function useAttachments({ user, sessionId }: Place) {
  const call = useCall(user)
  const [attachments, setAttachments] = useState<readonly Attachment[]>([])
  const put = (next: Attachment) => setAttachments((all) => all.map((one) => (one.key === next.key ? next : one)))

  const begin = (key: string, file: File) => {
    const { name } = file
    upload(call, sessionId, file).then(
      (upload) => put({ key, name, state: 'ready', upload }),
      (error: Error) => put({ key, name, state: 'failed', why: error.message }),
    )
  }

  return {
    attachments,
    add(files: FileList | null) {
      for (const file of [...(files ?? [])].slice(0, MAX_FILES - attachments.length)) {
        const key = String(++lastKey)
        setAttachments((all) => [...all, { key, name: file.name, state: 'uploading' }])
        begin(key, file)
      }
    },
    remove: (key: string) => setAttachments((all) => all.filter((one) => one.key !== key)),
    clear: () => setAttachments([]),
  }
}
