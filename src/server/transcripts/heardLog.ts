import type { JoinRuns } from '../log/runLog'
import type { SessionLog } from '../log/sessionLog'

/**
 * The same log. `onAppended` is told of each session to which this process has appended, or may
 * have: what rejects may have been done all the same.
 */
export function heardLog(log: SessionLog, onAppended: (sessionId: string) => void): SessionLog {
  async function heard<Result>(sessionId: string, append: () => Result): Promise<Awaited<Result>> {
    try {
      return await append()
    } finally {
      onAppended(sessionId)
    }
  }
  // Calls of methods, because a log of the app's may be a class.
  const joinRuns: JoinRuns | undefined = log.joinRuns && ((process) => heardRuns(process))
  function heardRuns(process: Parameters<JoinRuns>[0]): ReturnType<JoinRuns> {
    const runs = (log as Required<SessionLog>).joinRuns(process)
    return {
      read: (...given) => runs.read(...given),
      change: (sessionId, change) => heard(sessionId, () => runs.change(sessionId, change)),
      append: (sessionId, batch) => heard(sessionId, () => runs.append(sessionId, batch)),
      renew: () => runs.renew(),
      overdue: () => runs.overdue(),
      postpone: (overdue) => runs.postpone(overdue),
    }
  }
  return {
    append: (sessionId, ...given) => heard(sessionId, () => log.append(sessionId, ...given)),
    read: (...given) => log.read(...given),
    head: (sessionId) => log.head(sessionId),
    subscribe: (...given) => log.subscribe(...given),
    ...(log.join && { join: (host) => (log as Required<SessionLog>).join(host) }),
    ...(joinRuns && { joinRuns }),
  }
}
