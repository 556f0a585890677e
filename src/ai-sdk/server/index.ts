export { sessionIdOf } from '../wire'
export { chatIdOf } from './chatId'
export type { UIMessageContext } from './context'
export { type UIMessageRunsOptions, uiMessageRuns } from './uiMessageRuns'
