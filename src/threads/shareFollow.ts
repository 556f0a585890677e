type Shared = Map<string, { users: number; readonly end: () => void }>

const known = new WeakMap<object, Shared>()

/**
 * Who follows a thread for the same chat or agent twice is shown each run once: the first one
 * begins, the last one ends it.
 */
export function shareFollow(owner: object, thread: string, begin: () => () => void): () => void {
  const shared: Shared = known.get(owner) ?? new Map()
  known.set(owner, shared)
  const follow = shared.get(thread) ?? { users: 0, end: begin() }
  shared.set(thread, follow)
  follow.users++
  let leave = () => {
    leave = () => {}
    if (--follow.users > 0) return
    shared.delete(thread)
    follow.end()
  }
  return () => leave()
}
