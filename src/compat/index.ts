export {
  type ChatConnection,
  type ChatConnectionOptions,
  type ChatListener,
  createChatConnection,
} from './createChatConnection'
