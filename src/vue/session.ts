import { computed, type MaybeRefOrGetter, type Ref, shallowRef, toValue, watch } from 'vue'
import type { InboundMessage } from '../connection/messages'
import { viewOf } from '../sessions/audience'
import { sessionsOf } from '../sessions/sessions'
import type { SessionOptions, SessionView, SessionViewStatus } from '../sessions/types'
import { useConnection, whileMounted } from './provide'

export interface SessionRefs<State> {
  readonly state: Readonly<Ref<State>>
  readonly status: Readonly<Ref<SessionViewStatus>>
  readonly error: Readonly<Ref<unknown>>
}

/**
 * The state of a session, made of its events by `reduce`, in which nothing is missing and nothing
 * is doubled: `status` says how far that holds. It is kept beside the connection, so components
 * come and go, and several share one. `null`: no session yet. Changes at most once per frame.
 */
export function useSession<State, Message extends object = InboundMessage>(
  id: MaybeRefOrGetter<string | null>,
  options: SessionOptions<State, Message>,
): SessionRefs<State> {
  const sessions = sessionsOf(useConnection())
  const blank = viewOf(options as SessionOptions<State, never>)
  const read = (name: string | null) => (name !== null && sessions.view<State>(name)) || blank
  const view = shallowRef<SessionView<State>>(read(toValue(id)))
  whileMounted(() => {
    let leave = () => {}
    const follow = (name: string | null) => {
      const update = () => {
        view.value = read(name)
      }
      leave()
      leave = name === null ? () => {} : sessions.use(name, options, update)
      update()
    }
    watch(() => toValue(id), follow, { immediate: true, flush: 'sync' })
    return () => leave()
  })
  return {
    state: computed(() => view.value.state),
    status: computed(() => view.value.status),
    error: computed(() => view.value.error),
  }
}
