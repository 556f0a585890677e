// Installed only where the field tests run.
declare module 'resumable-stream/ioredis' {
  export function createResumableStreamContext(options: { waitUntil(promise: Promise<unknown>): void }): {
    createNewResumableStream(id: string, make: () => ReadableStream<string>): Promise<ReadableStream<string> | null>
    resumeExistingStream(id: string): Promise<ReadableStream<string> | null | undefined>
  }
}
declare module '@durable-streams/aisdk-transport' {
  import type { ChatTransport, UIMessage } from 'ai'
  export function createDurableChatTransport(options: { api: string }): ChatTransport<UIMessage>
  export function toDurableStreamResponse(options: {
    source: AsyncIterable<unknown>
    stream: { writeUrl: string; readUrl: string }
  }): Promise<Response>
}
