/** All keys of a session have one hash tag, so that a script may touch them together. */
export function createKeys(prefix: string) {
  const of = (sessionId: string, part: string) => `${prefix}:{${sessionId}}:${part}`
  const sessionPrefix = `${prefix}:session:`
  return {
    meta: (sessionId: string) => of(sessionId, 'meta'),
    log: (sessionId: string) => of(sessionId, 'log'),
    writer: (sessionId: string, writer: string) => of(sessionId, `writer:${writer}`),
    once: (sessionId: string, hash: string) => of(sessionId, `once:${hash}`),
    receipts: `${prefix}:receipt:`,
    receipt: (hash: string) => `${prefix}:receipt:${hash}`,
    /** The receipts of a principal. */
    quota: (hash: string) => `${prefix}:quota:${hash}`,
    mail: (id: string) => `${prefix}:mail:${id}`,
    channel: (sessionId: string) => sessionPrefix + sessionId,
    sessionOf: (channel: string) =>
      channel.startsWith(sessionPrefix) ? channel.slice(sessionPrefix.length) : undefined,
    /** Also the channel that tells of them. */
    revocations: `${prefix}:revocations`,
    nodeChannel: (node: string) => `${prefix}:node:${node}`,
    runs: (sessionId: string) => of(sessionId, 'runs'),
    endedRun: (sessionId: string, name: string) => of(sessionId, `ended:${name}`),
    /** By the time until which each is believed to live. */
    runProcesses: `${prefix}:runs:processes`,
    /** The sessions by the time when somebody has to look at them. */
    runsDue: `${prefix}:runs:due`,
    /** The sessions that a process has runs in. */
    heldRuns: (process: string) => `${prefix}:runs:of:${process}`,
    runChannel: (process: string) => `${prefix}:runs:${process}`,
  }
}

export type Keys = ReturnType<typeof createKeys>
