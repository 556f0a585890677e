export { nameOf as threadIdOf, sessionIdOf } from '../../protocol/sessionName'
export { type AguiContext, type AguiRunsOptions, type AguiSource, aguiRuns } from './aguiRuns'
export type { AguiEvent } from './eventsOf'
