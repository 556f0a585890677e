/** The time of whoever renders, injected. */
export interface PageTime {
  /** Calls back once, with the next frame. */
  frame(run: () => void): void
  /** Calls back after `ms`; returns the function that takes it back. */
  later(run: () => void, ms: number): () => void
}

/** The longest that `setTimeout` can wait, ms. */
const LONGEST = 2 ** 31 - 1

const later = (run: () => void, ms: number) => {
  if (ms > LONGEST) return () => {}
  const timer: unknown = setTimeout(run, ms)
  // In Node, a state that is kept must not keep the process.
  ;(timer as { unref?(): void }).unref?.()
  return () => clearTimeout(timer as number)
}

export const PAGE: PageTime = {
  frame(run) {
    let isDue = true
    const once = () => {
      if (isDue) run()
      isDue = false
    }
    const ask = globalThis.requestAnimationFrame as typeof requestAnimationFrame | undefined
    // A hidden page has no frames, and may still have a title to change.
    later(once, ask ? 250 : 16)
    ask?.call(globalThis, once)
  },
  later,
}
