import type { ENDPOINTS } from '../index'
import type { RunEvent } from '../runEvent'
import type { ProtocolError } from './protocolError'

/** Message types, and the fields that the app gives each of them; and what `onCommand` returns. */
export interface Messages {
  /** From client to server: commands and queries. */
  readonly up: object
  /** From server to client: the events of sessions. */
  readonly down: object
  /** By the types of `up`. Those that are left out are `unknown`. */
  readonly receipts?: object
}

// biome-ignore lint/suspicious/noExplicitAny: messages without types fit all that have some, and the other way round
export type AnyMessages = any

/** Of a server without a `protocol`, or with one that names no message. */
export type IsUntyped<M extends Messages> = 0 extends 1 & M
  ? true
  : [keyof M['up'] | keyof M['down']] extends [never]
    ? true
    : false

type BuiltIn = keyof typeof ENDPOINTS
type Name<Part> = keyof Part & string
/** The types of `up` that the app has named, and that need an endpoint. */
export type OwnType<M extends Messages> = Exclude<Name<M['up']>, BuiltIn>

export type Part = 'up' | 'down' | 'receipts'

/**
 * Judges a message, or an answer (`receipts`), as it is on the wire. Returns it as the app gets it.
 * Once `fail` was told why it does not fit: undefined, or the answer with `receipt: null`. An async
 * schema fails here, with its word as `later`.
 */
export type Check = (
  part: Part,
  message: unknown,
  fail: (error: ProtocolError) => void,
  /** Of the message that an answer belongs to. */
  type?: unknown,
) => unknown

/**
 * The message types of an app, for both sides. `Wire` is what is sent, `App` is what arrives: they
 * differ where a schema transforms. `defineProtocol` makes one that checks what it says; where
 * types are enough, write it down, at no cost:
 *
 * @example
 * export const chat: Protocol<{ up: { send: { prompt: string } }; down: { token: { text: string } }
 * }> = {}
 */
export type Protocol<Wire extends Messages = AnyMessages, App extends Messages = Wire> = EndpointsOf<Wire> & {
  /** Of `defineProtocol`. Without it nothing is checked. */
  readonly check?: Check | undefined
  /** Never there: it carries the types. */
  readonly '~messages'?: { readonly wire: Wire; readonly app: App } | undefined
}

/** A type of `up` that is not one of the library's needs an endpoint: `{ rate: 'rate' }`. */
type EndpointsOf<M extends Messages> = [0 extends 1 & M ? never : OwnType<M>] extends [never]
  ? { readonly endpoints?: Readonly<Record<string, string>> | undefined }
  : { readonly endpoints: { readonly [Type in OwnType<M>]: string } }

declare const receipt: unique symbol

/** What a message of this type is answered, once it is accepted. */
export type ReceiptOf<Message> = Message extends { readonly [receipt]?: infer Receipt } ? Receipt : unknown

type Fields<Own> = { readonly [Field in keyof Own as Field extends 'type' ? never : Field]: Own[Field] }
/** Those that the library adds, unless a schema names them itself. */
type Added<Envelope, Own> = {
  readonly [Field in keyof Envelope as Field extends Named<Own> ? never : Field]: Envelope[Field]
}
/** Without index signatures. */
type Named<Own> = keyof { [Field in keyof Own as string extends Field ? never : Field]: never }
type Flat<T> = { [Field in keyof T]: T[Field] }

type Up<Type, Own> = Own extends unknown
  ? Flat<{ readonly type: Type } & Added<{ readonly sessionId?: string | undefined }, Own> & Fields<Own>>
  : never
type Down<Type, Own> = Own extends unknown
  ? Flat<
      { readonly type: Type } & Added<
        { readonly sessionId: string; readonly seq: number; readonly epoch?: string | undefined },
        Own
      > &
        Fields<Own>
    >
  : never

type Ups<M extends Messages> = { readonly [Type in Name<M['up']>]: Up<Type, M['up'][Type]> }
type ReceiptsOf<M extends Messages> = {
  readonly [Type in Name<M['up']>]: Type extends keyof M['receipts'] ? M['receipts'][Type] : unknown
}

/** What a client may `send`. Each knows the type of its receipt. */
export type Sent<Wire extends Messages, App extends Messages = Wire> = {
  readonly [Type in Name<Wire['up']>]: Ups<Wire>[Type] & {
    readonly [receipt]?: ReceiptsOf<App>[Type & keyof ReceiptsOf<App>] | null
  }
}[Name<Wire['up']>]

/** What a client hears: the events of `down`, and those of runs. */
export type Heard<App extends Messages> =
  | { readonly [Type in Name<App['down']>]: Down<Type, App['down'][Type]> }[Name<App['down']>]
  | (RunEvent extends infer Event ? (Event extends { readonly type: infer Type } ? Down<Type, Event> : never) : never)

/** The message of each type of `up`, as `onCommand` gets it. */
export type Commands<App extends Messages> = Ups<App>

/** What a server may publish. */
export type Published<Wire extends Messages> = {
  readonly [Type in Name<Wire['down']>]: Wire['down'][Type] extends infer Own
    ? Own extends unknown
      ? Flat<{ readonly type: Type } & Fields<Omitted<Own>>>
      : never
    : never
}[Name<Wire['down']>]
type Omitted<Own> = {
  readonly [Field in keyof Own as Field extends 'sessionId' | 'seq' | 'epoch' | 'prevSeq' ? never : Field]: Own[Field]
}

/** What is in the log of a server: what it has published, and the events of runs. */
export type Logged<Wire extends Messages> = Published<Wire> | RunEvent

/** A protocol as a connection takes it. */
export type Defined = { readonly '~messages'?: { readonly wire: Messages; readonly app: Messages } | undefined }
type Sides<P extends Defined> = NonNullable<P['~messages']>
export type WireOf<P extends Defined> = Sides<P>['wire']
/**
 * What a server with this protocol may publish, e.g. a producer that stands for itself:
 * `AsyncGenerator<PublishedOf<typeof chat>>`.
 */
export type PublishedOf<P extends Defined> = Published<WireOf<P>>
/** The messages that a connection with this protocol hears: `InboundOf<typeof chat>`. */
export type InboundOf<P extends Defined> = Heard<Sides<P>['app']>
/** The messages that a connection with this protocol may send: `OutboundOf<typeof chat>`. */
export type OutboundOf<P extends Defined> = Sent<Sides<P>['wire'], Sides<P>['app']>
