import { createParser } from 'eventsource-parser'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { completeLines, expectStream } from '../../adapters/streamResponse'

const encoder = new TextEncoder()
const repeat = (times: number, ...chunks: string[]) => Array.from({ length: times }, () => chunks).flat()

/** Feeds the chunks to a stream that allows an event this many bytes. */
function feed(maxBytes: number, chunks: readonly string[]): string {
  const complete = completeLines(maxBytes)
  const decoder = new TextDecoder()
  return chunks.map((chunk) => decoder.decode(complete(encoder.encode(chunk)), { stream: true })).join('')
}

describe('an event that has not ended', () => {
  test.each([
    ['in one chunk', ['1234567890']],
    ['in several', ['12345', '67890']],
    ['with an empty chunk in between', ['12345', '', '67890']],
    ['in lines', repeat(5, 'a\n')],
    ['behind the end of another', ['data: 1\n\n12345', '67890']],
    ['behind several others', ['data: 1\n\ndata: 2\n\n1234567890']],
  ])('may have as many bytes as inbound.maxBytes says: %s', (_, chunks) => {
    expect(() => feed(10, chunks)).not.toThrow()
    expect(() => feed(10, [...chunks, 'x'])).toThrow(
      expect.objectContaining({
        code: 'stream-failed',
        message: 'an event has more than 10 bytes (inbound.maxBytes)',
      }),
    )
  })

  test.each([
    ['LF', repeat(6, 'a\n')],
    ['CR', repeat(6, 'a\r')],
    ['CRLF', repeat(4, 'a\r\n')],
    ['CRLF in two chunks', repeat(4, 'a\r', '\n')],
    ['mixed', repeat(3, 'a\r\nb\n')],
    ['one LF first, which ends no line of the event before', ['\na\n', ...repeat(5, 'a\n')]],
  ])('does not end with a line: %s', (_, chunks) => {
    expect(() => feed(10, chunks)).toThrow('inbound.maxBytes')
  })
})

// [spec] HTML, server-sent events: an empty line ends an event; LF, CR and CRLF end a line.
describe('an event ends with an empty line, so that the next one counts from zero', () => {
  test.each([
    ['LF', ['data: 1\n\n']],
    ['CR', ['data: 1\r\r']],
    ['CRLF', ['data: 1\r\n\r\n']],
    ['LF, CR', ['data: 1\n\r']],
    ['LF, CRLF', ['data: 1\n\r\n']],
    ['CRLF, LF', ['data: 1\r\n\n']],
    ['CRLF, CR', ['data: 1\r\n\r']],
    ['LF | LF', ['data: 1\n', '\n']],
    ['CR | CR', ['data: 1\r', '\r']],
    ['CRLF | CRLF', ['data: 1\r\n', '\r\n']],
    ['CRLF, CR | LF', ['data: 1\r\n\r', '\n']],
    ['CR | LF, CRLF', ['data: 1\r', '\n\r\n']],
    ['each byte alone', [...'data: 1\r\n\r\n']],
    ['LF | nothing | LF', ['data: 1\n', '', '\n']],
    ['an empty line, and the next one begins', ['data: 1\n\nda', 'ta: 2\n\n']],
  ])('%s', (_, chunks) => {
    expect(() => feed(14, repeat(20, ...chunks))).not.toThrow()
  })
})

test('however it is cut into chunks, a stream reads as in one piece', () => {
  const eventsOf = (chunks: readonly string[]) => {
    const events: unknown[] = []
    const parser = createParser({ onEvent: (event) => events.push(event) })
    for (const chunk of chunks) parser.feed(chunk)
    return events
  }
  const anyText = fc.array(
    fc.constantFrom('data: a', 'data:', 'id: 1', 'event: b', '\n', '\r', '\r\n', '\n\n', '\r\r'),
    {
      maxLength: 12,
    },
  )
  fc.assert(
    fc.property(anyText, fc.array(fc.nat(40), { maxLength: 6 }), (parts, cuts) => {
      // The last line ends, or the parser would keep a CR back.
      const text = `${parts.join('')}\n`
      const at = [0, ...cuts.filter((cut) => cut < text.length).sort((a, b) => a - b), text.length]
      const chunks = at.slice(1).map((end, index) => text.slice(at[index], end))
      const whole = eventsOf([text.replace(/\r\n?/g, '\n')])
      expect(eventsOf([feed(1_000, chunks)])).toEqual(whole)
    }),
    { numRuns: 1_000 },
  )
})

describe('the answer to a stream', () => {
  const URL = 'http://host.test/api/chat/events'
  const answer = (type: string | null, { url = URL, redirected = false, status = 200 } = {}) => {
    const response = new Response('', { status, headers: type === null ? {} : { 'content-type': type } })
    // A string has a type of its own.
    if (type === null) response.headers.delete('content-type')
    return expectStream(
      Object.defineProperties(response, { url: { value: url }, redirected: { value: redirected } }),
      URL,
      0,
    )
  }

  test.each(['text/event-stream', 'Text/Event-Stream; charset=utf-8'])('is one with the type %j', async (type) => {
    await expect(answer(type)).resolves.toBeUndefined()
  })

  test.each([
    ['text/html', 'GET events: text/html, not text/event-stream'],
    ['text/event-streams', 'GET events: text/event-streams, not text/event-stream'],
    ['x-text/event-stream', 'GET events: x-text/event-stream, not text/event-stream'],
    [null, 'GET events: nothing, not text/event-stream'],
  ])('is none with the type %j', async (type, message) => {
    await expect(answer(type)).rejects.toMatchObject({ code: 'stream-failed', status: 200, message })
  })

  test('may have been redirected within its origin', async () => {
    await expect(answer('text/event-stream', { redirected: true, url: 'http://host.test/x' })).resolves.toBeUndefined()
  })

  test('is none of another server that it was redirected to, nor the login page', async () => {
    const foreign = { redirected: true, url: 'http://other.test/login?to=chat#top' }
    const message = 'GET events: redirected to http://other.test/login; log in, or correct `url`'
    await expect(answer('text/event-stream', foreign)).rejects.toMatchObject({
      code: 'redirected',
      status: 200,
      message,
    })
    await expect(answer('text/html', { ...foreign, url: 'http://host.test/login' })).rejects.toMatchObject({
      code: 'redirected',
    })
  })

  test('C63: may come from another server that the app itself asked', async () => {
    await expect(answer('text/event-stream', { url: 'http://other.test/' })).resolves.toBeUndefined()
  })
})
