import { type ConnectionOptions, createConnection } from 'holdline'
import { type Reducer, reducer, type Transcript } from './reducer'

/**
 * The app: a connection, and what the page shows. It takes the connection's options, so that a test
 * can give it a world.
 */
export function createChatStore(options: ConnectionOptions, sessionId: string, reduce: Reducer = reducer) {
  const connection = createConnection(options)
  let transcript: Transcript = []
  connection.on('message', (message) => {
    if (message.sessionId === sessionId) transcript = reduce(transcript, message)
  })
  connection.on('session', (news) => {
    if (news.sessionId === sessionId) transcript = reduce(transcript, news)
  })
  connection.watch(sessionId)
  return { connection, transcript: () => transcript }
}
