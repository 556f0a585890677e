import type { TestPost } from '../harness/network'

export const isResume = ({ endpoint }: TestPost) => endpoint === 'reconnect'
export const isSuspend = ({ endpoint }: TestPost) => endpoint === 'suspend'
export const isProbe = ({ endpoint }: TestPost) => endpoint === 'probe'
export const isAttachment = ({ endpoint }: TestPost) => endpoint === 'watch' || endpoint === 'unwatch'
export const isBatch = ({ endpoint }: TestPost) => endpoint === 'batch'
export const isOfTheApp = (post: TestPost) => post.key !== null || isBatch(post)
