import type { Finding } from './finding'
import { hostsOf } from './hosts'
import { judgeAddress, judgeHops, judgeTls, judgeVersion } from './judgeLine'
import { judgeCookies, judgeCors, judgePost } from './judgePage'
import { judgeBuffering, judgeCompression, judgeFirstByte, judgeHeaders, judgeIdle, judgeStatus } from './judgeStream'
import type { Observation } from './observation'

const JUDGES = [
  judgeAddress,
  judgeTls,
  judgeVersion,
  judgeHops,
  judgeStatus,
  judgeFirstByte,
  judgeHeaders,
  judgeCompression,
  judgeBuffering,
  judgeIdle,
  judgePost,
  judgeCors,
  judgeCookies,
]

/** Findings in the order of what rests on what: the first problem is the one to look at. */
export function judge(observation: Observation): readonly Finding[] {
  const hosts = hostsOf(observation)
  return JUDGES.flatMap((judgeOne) => judgeOne(observation, hosts))
}
