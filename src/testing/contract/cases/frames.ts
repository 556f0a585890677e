import { behaviour, expectEqual, phases } from '../behaviour'
import type { ContractCase } from '../case'

export const frames: readonly ContractCase[] = [
  behaviour('C69: the media type of a stream is read whatever its case', async (line) => {
    line.server.interceptsStreams(async (next) => {
      const { body, headers } = await next()
      const own = new Headers(headers)
      own.set('content-type', 'Text/Event-Stream; Charset=UTF-8')
      return new Response(body, { headers: own })
    })
    await line.opens()
    expectEqual(phases(line).includes('backoff'), false, 'backoff')
  }),

  behaviour(
    'C73: an event ends with its empty line, whatever that ends in, and not with the next byte',
    async (line) => {
      await line.opens()
      for (const [index, end] of ['\r', '\n', '\r\n'].entries()) {
        line.server.saysRaw(`data: {"type":"notice","index":${index}}${end}${end}`)
        await line.until(JSON.stringify(end), () => line.messages.length === index + 1)
      }
      // Half of a CRLF, and the other half.
      for (const part of ['data: {"type":"notice"}\r', '\n\r', '\ndata: {"type":"end"}\r', '\n\r'])
        line.server.saysRaw(part)
      await line.until('CRLF in halves', () => line.messages.length === 5)
      expectEqual(line.messages.slice(3), [{ type: 'notice' }, { type: 'end' }], 'messages')
    },
    { needs: 'line-ends' },
  ),

  behaviour('what is no message is reported and dropped, and the line goes on', async (line) => {
    await line.opens()
    line.server.saysRaw('data: {"type":\n\ndata: [1]\n\n')
    line.server.says({ type: 'notice' })
    await line.until('the next message', () => line.messages.length === 1)
    const codes = line.told.flatMap(([name, event]) => (name === 'error' ? [event.error.code] : []))
    expectEqual([codes, line.connection.phase], [['bad-message', 'bad-message'], 'open'], 'reported')
  }),
]
