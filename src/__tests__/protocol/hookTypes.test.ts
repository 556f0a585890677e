import { createConnection } from 'holdline'
import { defineProtocol, type InboundOf, type OutboundOf } from 'holdline/protocol'
import * as react from 'holdline/react'
import { createSharedConnection, type SharedConnection } from 'holdline/tabs'
import * as vue from 'holdline/vue'
import { test } from 'vitest'
import { z } from 'zod'

// Nothing here runs: `tsc` holds what does not compile to be just that.

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function holds<_Claim extends true>() {}
/** Of a component, which is not rendered. */
const holdsTypes = (_Component: () => void) => {}

const chat = defineProtocol({
  up: { send: z.object({ sessionId: z.string(), prompt: z.string() }), stop: z.object({ sessionId: z.string() }) },
  down: { token: z.object({ text: z.string() }) },
})
type Heard = InboundOf<typeof chat>
type Sent = OutboundOf<typeof chat>
type Prompt = Extract<Sent, { readonly type: 'send' }>

const reduce = (said: string, event: Heard) => (event.type === 'token' ? said + event.text : said)

const ofReact = react.createHooks(chat)
function OfReact() {
  const view = ofReact.useSession('s1', { initial: '', reduce })
  // @ts-expect-error: an event that is none
  ofReact.useSession('s1', { initial: '', reduce: (said, { type }) => (type === 'tokn' ? said : '') })
  const [own] = ofReact.useOwnMessages('s1', { shown: [{ id: 'm1' }] })
  const [stop] = ofReact.useOwnMessages('s1', { shown: ({ message }) => message.sessionId === 's1', type: 'stop' })
  const send = ofReact.useSend()
  const [pending] = ofReact.usePending()
  const connection = ofReact.useHoldline({ url: '/api' }, 'ann')
  // @ts-expect-error: the protocol is given
  ofReact.useHoldline({ url: '/api', protocol: chat }, 'ann')
  holds<Same<typeof view.state, string>>()
  if (own) holds<Same<typeof own.message, Prompt>>()
  if (stop) holds<Same<typeof stop.message.type, 'stop'>>()
  if (pending) holds<Same<typeof pending.message, Sent>>()
  const delivery = send({ type: 'send', sessionId: 's1', prompt: 'hi' })
  holds<Same<typeof delivery.message.prompt, string>>()
  // @ts-expect-error: no message of the protocol
  send({ type: 'nonsense' })
  // @ts-expect-error: no message of the protocol
  connection.send({ type: 'nonsense' })
}
test('React: one protocol types the hooks', () => holdsTypes(OfReact))

const ofVue = vue.createHooks(chat)
function OfVue() {
  const view = ofVue.useSession('s1', { initial: '', reduce })
  const own = ofVue.useOwnMessages('s1', { shown: [{ id: 'm1' }] })
  const send = ofVue.useSend()
  const connection = ofVue.useHoldline({ url: '/api' }, 'ann')
  holds<Same<typeof view.state.value, string>>()
  for (const { message } of own.value) holds<Same<typeof message, Prompt>>()
  // @ts-expect-error: no message of the protocol
  send({ type: 'nonsense' })
  // @ts-expect-error: no message of the protocol
  connection.send({ type: 'nonsense' })
}
test('Vue: one protocol types the composables', () => holdsTypes(OfVue))

function Lines() {
  const connection = react.useHoldline({ url: '/api', protocol: chat }, 'ann')
  const ofVue = vue.useHoldline({ url: '/api', protocol: chat }, 'ann')
  const untyped = react.useHoldline({ url: '/api' }, 'ann')
  const typed = react.useHoldline<Heard, Sent>({ url: '/api' }, 'ann')
  connection.send({ type: 'send', sessionId: 's1', prompt: 'hi' })
  // @ts-expect-error: no message of the protocol
  connection.send({ type: 'nonsense' })
  // @ts-expect-error: no message of the protocol
  ofVue.send({ type: 'nonsense' })
  untyped.send({ type: 'send', prompt: 'hi' })
  typed.send({ type: 'stop', sessionId: 's1' })
}
test('useHoldline takes the types of a protocol, as createConnection does', () => holdsTypes(Lines))

function Reasons() {
  const line = react.useLineStatus()
  // @ts-expect-error: only while it is retried
  void line.retryIn
  if (line.status === 'retrying') holds<Same<typeof line.retryIn, number>>()
  createConnection({ url: '/api' }).on('delivery', ({ error }) => {
    holds<Same<NonNullable<typeof error>['reason'], string | undefined>>()
  })
}
function SharedLines() {
  const connection = ofReact.useHoldline({ url: '/api' }, 'ann', (options) =>
    createSharedConnection(options, { name: 'ann' }),
  )
  const inVue = ofVue.useHoldline({ url: '/api' }, 'ann', (options) => createSharedConnection(options, { name: 'ann' }))
  holds<Same<typeof connection, SharedConnection<Heard, Sent>>>()
  holds<Same<typeof inVue, SharedConnection<Heard, Sent>>>()
}
test('a line that tabs share has the types of the protocol', () => holdsTypes(SharedLines))

test('the line, and the reason of a refusal', () => holdsTypes(Reasons))
