export type { JsonObject } from '../protocol'
export {
  ALPHABET,
  type Alphabet,
  createWorld,
  type Letter,
  type Line,
  ODDITIES,
  RESETS,
  type World,
  type WorldOptions,
} from './alphabet'
export * from './behaviours'
export { type Command, commands } from './commands'
export { type ContractCase, type ContractPromise, transportContract } from './contract'
export type { ContractHost, Serve } from './contractLine'
export {
  createExpand,
  type Edge,
  type Expand,
  type Exploration,
  type ExploreOptions,
  explore,
  type Finding,
  type Progress,
  type ReplayOptions,
  replay,
} from './explore'
export { createHarness, type Environment, type Harness, type HarnessOptions, type Observer, type Told } from './harness'
export { INVARIANTS, type Invariant, type Oracle, type Violation, watchInvariants } from './invariants'
export type { Answer, NetworkOptions, TestPost, TestStream, Then } from './network'
export type { TestPage } from './page'
export { seededRandom } from './random'
export type { AppliedCommand, Behaviour, TestServer, TestServerOptions } from './testServer'
export type { VirtualClock, VirtualTime } from './virtualClock'
export { formatWalk, type WalkOptions, type WalkReport, walk } from './walk'
