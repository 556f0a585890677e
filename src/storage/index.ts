export type { Persistence } from '../types'
export { persist } from './persist'
export type * from './types'
