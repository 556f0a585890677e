import { CommandRejected } from '../../../server'
import { behaviour, errorOf, expectEqual, expectTrue, first, json, phases, range } from '../behaviour'
import type { ContractCase } from '../case'

export const sending: readonly ContractCase[] = [
  behaviour('I4: messages arrive in the order of send()', async (line) => {
    const deliveries = range(30).map((n) => line.send(`${n}`))
    await line.opens()
    deliveries.push(...range(60, 31).map((n) => line.send(`${n}`)))
    const verdicts = await Promise.all(deliveries.map(({ settled }) => settled))
    expectTrue(
      verdicts.every(({ status }) => status === 'accepted'),
      'not all were accepted',
    )
    expectEqual(line.server.prompts(), range(60).map(String), 'applied')
  }),

  behaviour('a verdict has the receipt, or says why', async (line) => {
    line.server.handles(({ message }) => {
      if (message.prompt === 'no') throw new CommandRejected(422, 'not-this')
      return { of: message.prompt }
    })
    await line.opens()
    const [yes, no, after] = await Promise.all(['yes', 'no', 'after'].map((prompt) => line.send(prompt).settled))
    expectEqual(yes && 'receipt' in yes && yes.receipt, { of: 'yes' }, 'receipt')
    expectEqual(
      no && 'error' in no && [no.status, no.error.status, no.error.cause],
      ['rejected', 422, 'not-this'],
      'refusal',
    )
    expectEqual(after?.status, 'accepted', 'the one after it')
  }),

  behaviour('C58: a 403 rejects that message only', async (line) => {
    await line.opens()
    const refused = await line.connection.send({ type: 'send', sessionId: 'forbidden', prompt: 'x' }).settled
    expectEqual(errorOf(refused), ['rejected', 'forbidden'], 'verdict')
    expectEqual([(await line.send('next').settled).status, line.connection.phase], ['accepted', 'open'], 'after it')
  }),

  behaviour('C40: a 503 is repeated under the same id, not before the server said', async (line) => {
    const isFirst = first(true, false)
    let refusedAt = 0
    let repeatedAt = 0
    line.server.intercepts((endpoint, next) => {
      if (endpoint !== 'send') return next()
      if (!isFirst()) {
        repeatedAt = Date.now()
        return next()
      }
      refusedAt = Date.now()
      return json(503, { error: 'busy' }, { 'Retry-After': '2' })
    })
    await line.opens()
    const verdict = await line.send('again', 'the-id').settled
    expectEqual([verdict.status, verdict.attempts], ['accepted', 2], 'verdict')
    expectEqual(
      line.server.requestsTo('send').map(({ key }) => key),
      ['the-id', 'the-id'],
      'ids',
    )
    // Two seconds of the line's time.
    expectTrue(repeatedAt - refusedAt >= 150, `repeated after ${repeatedAt - refusedAt} ms`)
  }),

  behaviour('C28: an answer that is lost is asked for again, and the command applied once', async (line) => {
    const isFirst = first(true, false)
    line.server.intercepts(async (endpoint, next) => {
      const response = await next()
      if (endpoint === 'send' && isFirst()) line.cut()
      return response
    })
    await line.opens()
    const verdict = await line.send('once').settled
    expectEqual([verdict.status, line.server.prompts()], ['accepted', ['once']], 'verdict and applied')
    expectTrue(verdict.attempts >= 2, 'it was not repeated')
  }),

  behaviour('C63: a POST that is redirected was not answered, and opens nothing', async (line) => {
    let redirects: string | undefined = 'reconnect'
    line.server.intercepts((endpoint, next) => {
      if (endpoint === 'login') return json(200, { user: null })
      return endpoint === redirects ? new Response(null, { status: 302, headers: { Location: '/login' } }) : next()
    })
    line.connection.watch('s1')
    const delivery = line.send('kept')
    line.connection.connect()
    await line.until('told', () => line.connection.lastError?.code === 'redirected')
    expectEqual([phases(line).includes('open'), delivery.status], [false, 'queued'], 'after a resume')
    redirects = 'send'
    const isTold = () => line.told.some(([name, event]) => name === 'error' && event.error.code === 'redirected')
    await line.until('told of the message', isTold)
    redirects = undefined
    expectEqual([(await delivery.settled).status, line.server.prompts()], ['accepted', ['kept']], 'after the login')
  }),

  behaviour('C69: the names of media types are read in any case', async (line) => {
    const headers = { 'content-type': 'Application/JSON; Charset=UTF-8' }
    line.server.intercepts((endpoint, next) =>
      endpoint === 'send' ? new Response('{"error":"id-reused"}', { status: 409, headers }) : next(),
    )
    await line.opens()
    expectEqual(errorOf(await line.send('again').settled), ['rejected', 'id-reused'], 'verdict')
  }),

  behaviour('any text goes up and comes down as it is, a large one too', async (line) => {
    line.server.handles(({ message }) => ({ echo: message.prompt }))
    line.connection.watch('s1')
    await line.opens()
    for (const text of ['', 'a\nb\r\nc\u2028d\u0000', 'grüße 👩‍👩‍👧 \ud800', 'x'.repeat(200_000)]) {
      const verdict = await line.send(text).settled
      expectTrue(
        'receipt' in verdict &&
          JSON.stringify(verdict.receipt) === JSON.stringify({ echo: JSON.parse(JSON.stringify(text)) }),
        `up: ${text.slice(0, 20)}`,
      )
      await line.server.publish('s1', { type: 'token', text })
      const wanted = line.server.applied.length
      await line.until('down', () => line.messages.length === wanted)
      expectEqual(line.messages.at(-1)?.text, text, 'down')
    }
  }),
]
