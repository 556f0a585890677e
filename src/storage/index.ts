export type { Persistence } from '../connection/api'
export { persist } from './persist'
export type * from './types'
