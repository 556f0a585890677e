export type { Trace, TraceStep } from '../types'
export {
  createInspector,
  type FrameLike,
  type Inspector,
  type InspectorAdapter,
  type InspectorOptions,
  type WindowLike,
} from './createInspector'
export { formatTrace } from './formatTrace'
export { parseTrace } from './parseTrace'
export type { InspectorEvent } from './redact'
export { type Decision, type Divergence, type Replay, replayTrace } from './replayTrace'
