export { formatTrace } from '../trace/formatTrace'
export { parseTrace } from '../trace/parseTrace'
export { type Decision, type Divergence, type Replay, replayTrace } from '../trace/replayTrace'
export type { Trace, TraceStep } from '../trace/trace'
export {
  createInspector,
  type FrameLike,
  type Inspector,
  type InspectorAdapter,
  type InspectorOptions,
  type WindowLike,
} from './createInspector'
export type { InspectorEvent } from './redact'
