export { createTabsExpand, faultsAfter, replayTabs, type TabOptions } from './expand'
export { rootOf, SETS } from './sets'
export { createWalk, type Walk } from './walk'
