export {
  type ActiveRun,
  type ActiveRuns,
  type Coalesce,
  type Produce,
  type ProducedEvent,
  type ResumeOptions,
  type RunCall,
  type RunEndReason,
  type RunError,
  type RunEvent,
  type RunReceipt,
  type Runs,
  type RunsOf,
  type RunsOptions,
  type StartOptions,
  suspend,
} from './api'
export { createRuns } from './createRuns'
