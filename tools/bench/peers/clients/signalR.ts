import { HubConnectionBuilder, LogLevel } from '@microsoft/signalr'
import type { StartClient } from './client'

/** Its docs: `withAutomaticReconnect` is asked for; its delays are then 0, 2, 10 and 30 s. */
export const startClient: StartClient = (url, app) => {
  const connection = new HubConnectionBuilder()
    .withUrl(`${url}/hub`)
    .withAutomaticReconnect()
    .configureLogging(LogLevel.None)
    .build()
  connection.on('message', (message) => app.hear(message))
  connection.onreconnecting(() => app.down())
  connection.onreconnected(() => app.up())
  connection.start().then(
    () => app.up(),
    () => app.down(),
  )
  return { send: (id) => connection.invoke('Prompt', id).then(() => 'completed') }
}
