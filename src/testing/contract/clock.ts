/** Both sides see time pass this much faster than it does. */
const SPEED = 10
const origin = Date.now()
export const clock = {
  now: () => origin + SPEED * (Date.now() - origin),
  setTimeout: (callback: () => void, ms: number) => setTimeout(callback, ms / SPEED),
  clearTimeout: (timer: unknown) => clearTimeout(timer as never),
}
