export { nameOf as chatIdOf, sessionIdOf } from '../../protocol/sessionName'
export type { UIMessageContext } from './context'
export { type UIMessageRunsOptions, uiMessageRuns } from './uiMessageRuns'
