import { createMachine, type setup as xstateSetup } from 'xstate'

/**
 * XState's `setup`. Its own hands out every kind of action there is, so no bundler can drop those
 * that nobody uses.
 */
export const setup = ((implementations: never) => ({
  createMachine: (config: never) => createMachine(config, implementations),
})) as unknown as typeof xstateSetup
