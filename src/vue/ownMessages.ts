import {
  computed,
  type MaybeRef,
  type MaybeRefOrGetter,
  type Ref,
  shallowRef,
  toValue,
  unref,
  watch,
  watchEffect,
} from 'vue'
import type { OfType, OutboundMessage, Typed } from '../connection/messages'
import { type OwnMessage, ownMessagesOf, type Shown, shownBy } from '../sessions/ownMessages'
import { useConnection, whileMounted } from './provide'

export interface OwnOptions<Outbound extends Typed = OutboundMessage, Type extends string = string> {
  /** A list may be in a ref, and a function may read refs. */
  readonly shown: MaybeRef<Shown<OfType<Outbound, Type>>>
  /** The `type` of the messages. Default: `send`. */
  readonly type?: Type | undefined
}

/**
 * The messages of this page to a session, oldest first, from `send` until the transcript has them;
 * those that were refused, or are in doubt, until they are dismissed or repeated. They are kept
 * beside the connection, so components come and go. `null`: no session yet.
 */
export function useOwnMessages<Outbound extends Typed = OutboundMessage, Type extends string = 'send'>(
  sessionId: MaybeRefOrGetter<string | null>,
  { shown, type }: OwnOptions<Outbound, Type>,
): Readonly<Ref<readonly OwnMessage<OfType<Outbound, Type>>[]>> {
  const own = ownMessagesOf(useConnection())
  const all = shallowRef<readonly OwnMessage[]>([])
  const isShown = computed(() => shownBy(unref(shown) as never))
  whileMounted(() => {
    let leave = () => {}
    watch(
      () => toValue(sessionId),
      (session) => {
        const { subscribe, getSnapshot } = own.store(session, type ?? 'send')
        const update = () => {
          all.value = getSnapshot()
        }
        leave()
        leave = subscribe(update)
        update()
      },
      { immediate: true, flush: 'sync' },
    )
    watchEffect(() => own.seen(all.value.filter(isShown.value)))
    return () => leave()
  })
  return computed(() => all.value.filter((message) => !isShown.value(message))) as never
}
