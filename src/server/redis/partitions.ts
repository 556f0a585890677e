/** One of the parts into which the sessions of a cluster are divided. */
export interface Partition {
  readonly index: number
  /** All its keys and channels are in this slot. */
  readonly slot: number
  /** The hash tag that leads there. */
  readonly tag: string
}

/** [spec] Of every Redis Cluster. */
const SLOTS = 16_384
/** Where a session is follows from this number, so it can never change. */
const PARTITIONS = 64
const WIDTH = SLOTS / PARTITIONS

/**
 * Partitions whose slots lie evenly, one in each range of 256, so that shards with equally many
 * slots have equally many partitions.
 */
export function createPartitions(): readonly Partition[] {
  const partitions: Partition[] = []
  for (let n = 0, left = PARTITIONS; left > 0; n += 1) {
    const tag = String(n)
    const slot = slotOf(tag)
    const index = Math.floor(slot / WIDTH)
    if (partitions[index]) continue
    partitions[index] = { index, slot, tag }
    left -= 1
  }
  return partitions
}

/** The index of the partition that has a session, or whatever else has a name. */
export const partitionOf = (name: string): number => Math.floor(slotOf(name) / WIDTH)

/** [spec] CRC16 (XMODEM) modulo 16,384, of ASCII. */
export function slotOf(name: string): number {
  let crc = 0
  for (let at = 0; at < name.length; at += 1) {
    crc = (crc ^ (name.charCodeAt(at) << 8)) & 0xffff
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff
  }
  return crc % SLOTS
}
