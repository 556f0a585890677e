export { fileStore } from './fileStore'
export { type NodeListener, type NodeRequest, type NodeResponse, toNodeListener } from './toNodeListener'
