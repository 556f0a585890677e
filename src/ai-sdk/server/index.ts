export { sessionIdOf } from '../wire'
export { chatIdOf } from './chatId'
export { type UIMessageContext, type UIMessageRunsOptions, uiMessageRuns } from './uiMessageRuns'
