export { defineProtocol, type ProtocolDefinition } from './defineProtocol'
export { ProtocolError } from './protocolError'
export type { InputOf, OutputOf, ProtocolIssue, Schema } from './schema'
export type { Check, InboundOf, Messages, OutboundOf, Part, Protocol, PublishedOf, ReceiptOf } from './types'
