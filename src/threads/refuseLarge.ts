import { ConnectionError } from '../errors'

/** @throws {ConnectionError} `invalid-message` */
export function refuseLarge(command: object, maxBytes: number, advice: string) {
  const bytes = new TextEncoder().encode(JSON.stringify(command)).length
  if (bytes > maxBytes) {
    const why = `the message has ${bytes} bytes, the server takes ${maxBytes} (limits.bodyBytes): ${advice}`
    throw new ConnectionError('invalid-message', why)
  }
}
