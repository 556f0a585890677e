// What the processes of a soak agree on.

/** Messages that the app knows beside `send`, and their endpoints. */
export const ENDPOINTS = { say: 'say', pay: 'pay', slow: 'slow' }
/** The honest client's principal. */
export const HONEST = 'honest'
/** A session of the honest client, and one that everybody may read and write. */
export const OWN_SESSION = 'honest-1'
export const ROOM = 'room-1'
/** `limits.receipts`: few, so that it does not take an attack long to get at them. */
export const RECEIPTS = 4_000
/** Each session has an event each 50 ms. */
export const TICK = 50
