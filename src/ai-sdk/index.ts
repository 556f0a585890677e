export { sessionIdOf } from '../protocol/sessionName'
export {
  type ChatTransportOptions,
  createChatTransport,
  type HoldlineChatTransport,
  type PreparedRequest,
  type SendMessagesRequest,
} from './chatTransport'
export { type FollowedChat, followChat } from './followChat'
export type { RunNews } from './news'
