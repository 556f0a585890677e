import { describe, expect, test } from 'vitest'
import { discard, type Exchange, type Receipt, readAnswer, readText } from '../../adapters/answer'

const exchange = (receipt: Receipt = 'none'): Exchange => ({
  what: 'POST send',
  clock: { now: () => 0, setTimeout: () => 0, clearTimeout() {} },
  maxBytes: 100,
  receipt,
})
const bytes = (text: string) => new TextEncoder().encode(text)

function answer(chunks: readonly Uint8Array[], init?: ResponseInit) {
  const cancelled: unknown[] = []
  const left = [...chunks]
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const chunk = left.shift()
        if (chunk) controller.enqueue(chunk)
        else controller.close()
      },
      cancel: (reason) => void cancelled.push(reason),
    },
    { highWaterMark: 0 },
  )
  return { response: new Response(body, init), cancelled }
}

describe('the body of an answer', () => {
  test('is read to its last byte, also where a character is cut in two', async () => {
    const text = 'a€b😀'
    const chunks = [...bytes(text)].map((byte) => Uint8Array.of(byte))
    await expect(readText(answer(chunks).response, 100, 'POST send')).resolves.toBe(text)
  })

  test('that ends within a character ends with a replacement character', async () => {
    await expect(readText(answer([bytes('a€').slice(0, 3)]).response, 100, 'POST send')).resolves.toBe('a\ufffd')
  })

  test('may have maxBytes, over all its chunks; one more is too many, and the rest is not read', async () => {
    await expect(readText(answer([bytes('12345'), bytes('67890')]).response, 10, 'x')).resolves.toBe('1234567890')
    const { response, cancelled } = answer([bytes('12345'), bytes('678901'), bytes('more')])
    await expect(readText(response, 10, 'POST send')).rejects.toMatchObject({
      code: 'bad-response',
      message: 'POST send: the answer has more than 10 bytes (inbound.maxBytes)',
    })
    expect(cancelled).toHaveLength(1)
  })

  test.each([[null], [{}]])('is taken whole where it cannot be read in parts: %j', async (body) => {
    const response = { body, text: async () => 'whole' } as unknown as Response
    await expect(readText(response, 100, 'POST send')).resolves.toBe('whole')
  })

  test('that nobody reads is cancelled, once; there may be none', () => {
    const { response, cancelled } = answer([bytes('a')])
    discard(response)
    expect(cancelled).toHaveLength(1)
    expect(() => discard(new Response(null))).not.toThrow()
  })
})

describe('a 2xx', () => {
  test.each(['text/html', 'Text/HTML; charset=utf-8', 'application/xhtml+xml'])(
    'of type %s is no answer of the server, even where none is needed',
    async (type) => {
      const asked = exchange()
      const { response } = answer([bytes('<p>log in')], { headers: { 'content-type': type } })
      await expect(readAnswer(response, asked)).rejects.toMatchObject({ code: 'bad-response' })
      expect(asked.answer).toBeUndefined()
    },
  )

  test.each(['text/plain; was=text/html', 'text/htmlx'])('of type %s is one', async (type) => {
    const asked = exchange()
    await readAnswer(answer([bytes('ok')], { headers: { 'content-type': type } }).response, asked)
    expect(asked.answer).toBe('success')
  })

  test('without a type and a receipt that is required is told so', async () => {
    const { response } = answer([bytes('ok')])
    await expect(readAnswer(response, exchange('required'))).resolves.toBeUndefined()
  })

  test('that says it is JSON, and is none, names what came', async () => {
    const { response } = answer([bytes('{')], { headers: { 'content-type': 'application/json' } })
    await expect(readAnswer(response, exchange('ifAnnounced'))).rejects.toThrow(
      'POST send (application/json): the server answered 200, 1 characters, no JSON',
    )
  })
})

test('a failure without a type says so', async () => {
  await expect(readAnswer(answer([], { status: 500 }).response, exchange())).rejects.toThrow(
    'POST send (no content type): ',
  )
})
