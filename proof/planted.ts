/** A row of the failure catalogue, made to come back by changing one place of the library. */
export interface PlantedBug {
  /** Rows of the catalogue, or an invariant of the design. */
  readonly row: string
  readonly bug: string
  readonly file: string
  /** Stands in the file exactly once. */
  readonly find: string
  readonly replace: string
}

const MACHINE = 'src/machine/connectionMachine.ts'
const OUTBOX_MACHINE = 'src/machine/outboxMachine.ts'
const ACTORS = 'src/actors.ts'
const INBOX = 'src/inbox.ts'
const OUTBOX = 'src/outbox.ts'
const UPSTREAM = 'src/adapters/fetchUpstream.ts'
const EVENT_SOURCE = 'src/adapters/eventSourceStream.ts'

export const PLANTED: readonly PlantedBug[] = [
  {
    row: 'C01 C02',
    bug: 'the outbox is released at the welcome, before the resume has succeeded',
    file: MACHINE,
    find: "entry: 'numberResume',",
    replace: "entry: ['numberResume', 'releaseOutbox'],",
  },
  {
    row: 'C03 I8',
    bug: 'leaving the resume does not abort its POST',
    file: ACTORS,
    find: '        abort.abort()\n        stopWatching()',
    replace: '        stopWatching()',
  },
  {
    row: 'C04',
    bug: 'a second welcome does not begin the resume anew',
    file: MACHINE,
    find: "                'stream.silent': retry,\n                'resume.failed'",
    replace:
      "                'stream.welcomed': {},\n                'stream.silent': retry,\n                'resume.failed'",
  },
  {
    row: 'C05',
    bug: 'a failed resume opens the line',
    file: MACHINE,
    find: "'resume.failed': [{ guard: withEvent('isFatal'), ...stop }, retry],",
    replace: "'resume.failed': [{ guard: withEvent('isFatal'), ...stop }, { target: '#open' }],",
  },
  {
    row: 'C06 C07',
    bug: 'a failed resume is tried again at once, on a fresh stream',
    file: MACHINE,
    find: "'resume.failed': [{ guard: withEvent('isFatal'), ...stop }, retry],",
    replace: "'resume.failed': [{ guard: withEvent('isFatal'), ...stop }, { ...retry, target: '#streaming' }],",
  },
  {
    row: 'C07 C38',
    bug: 'every open resets the attempt count',
    file: MACHINE,
    find: "entry: ['clearFailures', 'releaseOutbox', 'emitOpened'],",
    replace: "entry: ['clearFailures', 'resetAttempts', 'releaseOutbox', 'emitOpened'],",
  },
  {
    row: 'C08 I7',
    bug: '`closed` is told of a connection that was never open',
    file: MACHINE,
    find: "          exit: 'forgetStream',",
    replace: "          exit: ['forgetStream', withEvent('emitClosed')],",
  },
  {
    row: 'C10 I10',
    bug: 'what arrives on a stream that was resumed is dropped',
    file: ACTORS,
    find: '          const control = inbox.receive(data, json)',
    replace:
      '          if (context().cursors.length && data.includes(\'"seq"\')) return\n          const control = inbox.receive(data, json)',
  },
  {
    row: 'C12',
    bug: 'a resume is sent although there is no session',
    file: MACHINE,
    find: 'hasCursors: (_, { cursors }: { cursors: readonly Cursor[] }) => cursors.length > 0,',
    replace: 'hasCursors: (_, { cursors }: { cursors: readonly Cursor[] }) => cursors.length >= 0,',
  },
  {
    row: 'C13',
    bug: 'the app may post what belongs to the library',
    file: OUTBOX,
    find: 'Object.hasOwn(endpoints, type) && !RESERVED_TYPES.includes(type) && endpoints[type]',
    replace: 'endpoints[type] ?? type',
  },
  {
    row: 'C16 C21',
    bug: 'an EventSource is left open at an error',
    file: EVENT_SOURCE,
    find: '    if (closed) return\n    close()\n',
    replace: '    if (closed) return\n',
  },
  {
    row: 'C18',
    bug: 'cursors from before are not resumed on the first connection',
    file: INBOX,
    find: '      session.wanted = true\n      if (wasResting',
    replace: '      session.wanted = this.#streams > 1\n      if (wasResting',
  },
  {
    row: 'C19',
    bug: 'a session that is watched during a resume is forgotten',
    file: MACHINE,
    find: "  { guard: withEvent('completesResume'), target: '#open' },",
    replace: "  { guard: withEvent('confirmsResume'), target: '#open' },",
  },
  {
    row: 'C20',
    bug: 'a resume has no timeout',
    file: MACHINE,
    find: "                  after: {\n                    resumeTimeout: timedOut('resume'),\n                  },\n                },\n                replaying",
    replace: '                },\n                replaying',
  },
  {
    row: 'C21 I11',
    bug: 'callbacks of a closed EventSource are still heard',
    file: EVENT_SOURCE,
    find: 'if (!closed) handlers[type](data',
    replace: 'handlers[type](data',
  },
  {
    row: 'C22',
    bug: 'any answer to a probe will do, whatever its nonce',
    file: MACHINE,
    find: 'nonce === nonceOf(context),',
    replace: 'nonce !== nonceOf(context) || true,',
  },
  {
    row: 'C23 C24',
    bug: 'nobody watches for silence',
    file: ACTORS,
    find: '          if (heartbeat) {',
    replace: '          if (heartbeat && heartbeat < 0) {',
  },
  {
    row: 'C25',
    bug: 'a POST that failed is taken for accepted',
    file: OUTBOX,
    find: '    if (outcome instanceof ConnectionError) fail(entry, opened, outcome, carried)',
    replace:
      "    if (outcome instanceof ConnectionError && outcome.code === 'network') end(entry, { status: 'accepted', receipt: null })\n    else if (outcome instanceof ConnectionError) fail(entry, opened, outcome, carried)",
  },
  {
    row: 'C25 I5',
    bug: 'a repeat has another idempotency key',
    file: OUTBOX,
    find: 'idempotencyKey: isBatch ? undefined : entries[0]?.delivery?.id,',
    replace:
      'idempotencyKey: isBatch ? undefined : entries[0]?.delivery && entries[0].delivery.id + entries[0].attempts,',
  },
  {
    row: 'C26',
    bug: 'over the bounds the oldest message vanishes without a verdict',
    file: OUTBOX,
    find: "    for (const victim of isFull() ? [entry] : victims) giveUp(victim, 'outbox-full')",
    replace: "    if (isFull() && head) {\n      unsettled.delete(head.delivery?.id ?? '')\n      remove(head)\n    }",
  },
  {
    row: 'C27',
    bug: 'a POST has no timeout',
    file: UPSTREAM,
    find: '        timeout &&\n        clock.setTimeout',
    replace: '        timeout === 0 &&\n        clock.setTimeout',
  },
  {
    row: 'C28',
    bug: 'a 2xx without the receipt that was promised is success',
    file: OUTBOX,
    find: "outcome === undefined && opened.features.includes('receipts')",
    replace: "outcome === undefined && opened.features.includes('receipts') && !entry.delivery",
  },
  {
    row: 'C29',
    bug: 'a stored message is deleted when it is posted',
    file: OUTBOX,
    find: '            if (entry.delivery) store?.put(entry, entry.delivery.id, entry.body())',
    replace: '            store?.remove(entry.place)',
  },
  {
    row: 'C30',
    bug: 'clearOutbox forgets the POST in flight',
    file: OUTBOX,
    find: '    for (const entry of [...unsettled.values()]) giveUp(entry)',
    replace: '    for (const entry of [...unsettled.values()]) if (!entry.flight) giveUp(entry)',
  },
  {
    row: 'C31',
    bug: 'a 401 is repeated in place, for ever',
    file: OUTBOX,
    find: "  401: 'upstream.unauthorized',\n",
    replace: '',
  },
  {
    row: 'C32 I6',
    bug: 'the cursor moves before the listeners have returned',
    file: INBOX,
    find: '    const failed = this.#offer(message, this.#listeners)\n    if (!this.#isCurrent',
    replace:
      '    this.#advance(session, seq)\n    const failed = this.#offer(message, this.#listeners)\n    if (!this.#isCurrent',
  },
  {
    row: 'C33',
    bug: 'the cursor may move backwards',
    file: INBOX,
    find: '    if (seq <= session.lastSeq) return\n',
    replace: '',
  },
  {
    row: 'C33',
    bug: 'a reset does not move the cursor',
    file: INBOX,
    find: '      lastSeq: to,\n      epoch,',
    replace: '      epoch,',
  },
  {
    row: 'C34',
    bug: 'holes go unnoticed',
    file: INBOX,
    find: 'let follows = prevSeq === undefined ? !this.#contiguous || seq <= lastSeq + 1 : prevSeq <= lastSeq',
    replace: 'let follows = seq > 0 || prevSeq === undefined',
  },
  {
    row: 'C35 I6',
    bug: 'an event that comes twice is delivered twice',
    file: INBOX,
    find: '    if (seq <= lastSeq && this.#settings.dedupe) {',
    replace: '    if (seq < lastSeq && this.#settings.dedupe) {',
  },
  {
    row: 'C37',
    bug: 'a session that is gone is resumed again',
    file: INBOX,
    find: '      } else this.unwatch(sessionId)\n',
    replace: '      }\n',
  },
  {
    row: 'C39',
    bug: 'no jitter at the cap',
    file: 'src/machine/backoff.ts',
    find: 'const jittered = random() * Math.min(cap, base * 2 ** Math.min(attempt, 31))',
    replace: 'const jittered = Math.min(cap, random() * base * 2 ** Math.min(attempt, 31))',
  },
  {
    row: 'C40',
    bug: 'Retry-After is ignored',
    file: 'src/machine/backoff.ts',
    find: 'const floor = clampServerDelay(server.retryAfter ?? 0)',
    replace: 'const floor = clampServerDelay(0 * (server.retryAfter ?? 0))',
  },
  {
    row: 'C40',
    bug: 'Retry-After has no limit',
    file: 'src/machine/backoff.ts',
    find: 'Math.min(Math.max(delay, 0), MAX_SERVER_DELAY)',
    replace: 'Math.max(delay, 0)',
  },
  {
    row: 'C41 I8',
    bug: 'the look at the clock goes on after disconnect',
    file: 'src/adapters/pageLifecycle.ts',
    find: '        clock.clearTimeout(timer)\n',
    replace: '',
  },
  {
    row: 'C41 I8',
    bug: 'a message that waits to be offered again keeps its timer after disconnect',
    file: INBOX,
    find: '    for (const { waiting } of this.#sessions.values()) this.#settings.clock.clearTimeout(waiting?.timer)\n',
    replace: '',
  },
  {
    row: 'C42 I12',
    bug: 'a wake opens a fresh stream whatever the line is doing',
    file: MACHINE,
    find: "        reconnect: { target: '#streaming' },\n      },",
    replace: "        reconnect: { target: '#streaming' },\n        wake: { target: '#streaming' },\n      },",
  },
  {
    row: 'C43',
    bug: 'a message listener that throws starves the others',
    file: INBOX,
    find: "if (!this.#notifier.call('message', listener, message)) failed = [...failed, listener]",
    replace: "if (!this.#notifier.call('message', listener, message)) return [...failed, listener]",
  },
  {
    row: 'C54',
    bug: 'a hole that a replay has filled is still taken for open, and the next one is not noticed',
    file: INBOX,
    find: 'if (message.seq === session.dropped) session.dropped = 0\n    } else',
    replace: '} else',
  },
  {
    row: 'C54',
    bug: 'a resume is spent on a listener that throws',
    file: INBOX,
    find: "if (!this.#notifier.call('message', listener, message)) failed = [...failed, listener]",
    replace:
      "if (!this.#notifier.call('message', listener, message)) {\n        failed = [...failed, listener]\n        for (const session of this.#sessions.values()) session.wanted = true\n        this.#onHole()\n      }",
  },
  {
    row: 'C55 I3',
    bug: 'the gate is not asked again after the headers hook',
    file: OUTBOX,
    find: 'if (gate !== opened || entries.some((entry)',
    replace: 'if (entries.some((entry)',
  },
  {
    row: 'C56',
    bug: 'the marker of an earlier resume confirms the next one',
    file: MACHINE,
    find: 'done.resumeId === undefined || done.resumeId === resumeId',
    replace: 'done.resumeId === undefined || done.resumeId === resumeId || done.resumeId.length > 0',
  },
  {
    row: 'C57 I12',
    bug: 'a 404 leads to a fresh stream at once, each time',
    file: MACHINE,
    find: 'isFirstAttempt: ({ context }) => context.attempt === 0 &&',
    replace: 'isFirstAttempt: ({ context }) => context.attempt >= 0 &&',
  },
  {
    row: 'C58',
    bug: 'a 403 stops the whole line',
    file: OUTBOX,
    find: "  401: 'upstream.unauthorized',\n",
    replace: "  401: 'upstream.unauthorized',\n  403: 'upstream.unauthorized',\n",
  },
  {
    row: 'C59',
    bug: 'the queue stands behind a POST on a dead socket',
    file: OUTBOX,
    find: "if (old.length && opened.features.includes('idempotency')) {",
    replace: "if (old.length && opened.features.includes('batch') && maxBatch < 0) {",
  },
  {
    row: 'C60',
    bug: 'a replay that makes progress runs into the timeout',
    file: MACHINE,
    find: "                replaying: {\n                  on: { 'stream.replayed': resumeDone },",
    replace:
      "                replaying: {\n                  after: { resumeTimeout: timedOut('resume') },\n                  on: { 'stream.replayed': resumeDone },",
  },
  {
    row: 'I3',
    bug: 'the gate stays open when the line closes',
    file: OUTBOX_MACHINE,
    find: "    hold: { target: '.held' },",
    replace: '    hold: { actions: [] },',
  },
  {
    row: 'I4',
    bug: 'a message that failed is repeated after those behind it',
    file: OUTBOX,
    find: "      become(entry, 'queued')\n      next = head\n",
    replace: "      become(entry, 'queued')\n      remove(entry)\n      insert(entry)\n",
  },
  {
    row: 'I1',
    bug: 'leaving a stream does not close it',
    file: ACTORS,
    find: '        close()\n        stopWatchdog()',
    replace: '        stopWatchdog()',
  },
  {
    row: 'C45 C51',
    bug: 'S: a stream is found by its id, whoever asks',
    file: 'src/server/connections.ts',
    find: 'if (connection?.principalId !== principalId) return undefined',
    replace: 'if (!connection || !principalId) return undefined',
  },
  {
    row: 'C50',
    bug: 'S: another payload under a known key is answered like the first',
    file: 'src/server/commands.ts',
    find: 'if (known) return answerTo(known, fingerprint)',
    replace: 'if (known) return known.answer',
  },
  {
    row: 'I5',
    bug: 'the results of a batch are taken in the order in which they come, whatever their ids',
    file: OUTBOX,
    find: 'if (!result || result.id !== entry.delivery?.id) break',
    replace: 'if (!result) break',
  },
  {
    row: 'I10',
    bug: 'events of a session still arrive after unwatch',
    file: INBOX,
    find: 'if (this.#closed?.has(sessionId)) return undefined',
    replace: 'this.#closed?.delete(sessionId)',
  },
  {
    row: 'C43 I6',
    bug: 'a message that a listener throws at is offered for ever',
    file: INBOX,
    find: 'if (++waiting.repeats < REPEATS.length) return',
    replace: 'if (++waiting.repeats > 0) return',
  },
]
