import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One library's own server, or one that speaks its protocol. */
export interface PeerServer {
  readonly port: number
  /** To each client that is on the line. */
  publish(message: Message): void
  close(): Promise<void>
}

export interface ServerOptions {
  /** So many messages go to a client as soon as it is there. */
  readonly flood: number
  onPrompt(id: string): void
}

export type StartServer = (options: ServerOptions) => Promise<PeerServer>

export type Message = Readonly<Record<string, unknown>>

const SESSIONS = 3

/** The tokens of a few chats in turn: the same messages for every peer. */
export const floodOf = (messages: number): readonly Message[] =>
  Array.from({ length: messages }, (_, index) => ({
    type: 'token',
    sessionId: `session-${index % SESSIONS}`,
    seq: Math.floor(index / SESSIONS) + 1,
    text: `tok ${index}`,
  }))

export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

export async function closeServer(server: Server) {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}

export async function readBody(request: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
