import { useSelector } from '@xstate/vue'
import { defineComponent, h } from 'vue'
import type { Chat as ChatStore } from '../chat'
import { statusOf } from '../status'
import { useConnection, useStore } from './connection'

export const Status = defineComponent(() => {
  const { snapshot } = useConnection()
  return () => h('output', statusOf(snapshot.value))
})

/** Renders when the count of failures changes, and for nothing else. */
export const Banner = defineComponent(() => {
  const { actor } = useConnection().connection
  const attempt = useSelector(actor, ({ context }) => context.attempt)
  return () => attempt.value > 2 && h('p', { role: 'status' }, 'Still no connection. What you write is kept.')
})

/** A prompt is there at once, offline too, and tells what becomes of it. */
export const Chat = defineComponent(
  ({ chat }: { chat: ChatStore }) => {
    const bubbles = useStore(chat)
    const submit = (event: Event) => {
      event.preventDefault()
      const form = event.currentTarget as HTMLFormElement
      chat.say(String(new FormData(form).get('prompt')))
      form.reset()
    }
    return () => [
      h(
        'ol',
        bubbles.value.map(({ id, from, text, status }) =>
          h('li', { key: id, class: from }, [text, status && h('small', ` ${status}`)]),
        ),
      ),
      h('form', { onSubmit: submit }, [
        h('input', { name: 'prompt', 'aria-label': 'Prompt', required: true }),
        h('button', 'Send'),
      ]),
    ]
  },
  { props: ['chat'] },
)
