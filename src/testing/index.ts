export type { JsonObject } from '../protocol'
export type { ContractCase, ContractPromise } from './contract/case'
export { transportContract } from './contract/contract'
export type { ContractHost, Serve } from './contract/contractLine'
export { createExpand, type Edge, type Expand } from './explore/expand'
export { type Exploration, type ExploreOptions, explore, type Progress } from './explore/explore'
export type { Finding } from './explore/finding'
export { type ReplayOptions, replay } from './explore/replay'
export type { AppliedCommand, Behaviour, TestServer } from './harness/behaviourChain'
export * from './harness/behaviours'
export {
  createHarness,
  type Environment,
  type Harness,
  type HarnessOptions,
  type Observer,
  type Told,
} from './harness/harness'
export type { Answer, NetworkOptions, TestPost, TestStream, Then } from './harness/network'
export type { TestPage } from './harness/page'
export { seededRandom } from './harness/random'
export type { TestServerOptions } from './harness/testServer'
export type { VirtualClock, VirtualTime } from './harness/virtualClock'
export { watchInvariants } from './oracle/invariants'
export { INVARIANTS, type Invariant, type Oracle, type Violation } from './oracle/oracle'
export type { ServerCase, ServerContractOptions, ServerTopic, ServerVerdict } from './serverContract/case'
export { runServerContract, type ServerReport, type ServerRunSettings } from './serverContract/run'
export { serverContract } from './serverContract/serverContract'
export type { WalkOptions } from './walk/drive'
export { formatWalk, type WalkReport, walk } from './walk/walk'
export { ALPHABET } from './world/alphabet'
export { type Command, commands } from './world/commands'
export type { WorldOptions } from './world/course'
export type { Alphabet, Letter } from './world/letter'
export { ODDITIES, RESETS } from './world/letters/odd'
export type { Line } from './world/lines'
export { createWorld, type World } from './world/world'
