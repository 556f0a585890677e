import { describe, expect, test } from 'vitest'
import { TabLock, type TabLocks } from '../../tabs/lock'
import type { LockFact } from '../../tabs/types'
import { settle } from '../support/fakes'

/** Requests that a test answers. */
function world() {
  const requests: {
    readonly options: { steal?: boolean; signal?: AbortSignal }
    grant(): Promise<string>
    fail(error: unknown): void
  }[] = []
  const told: LockFact['type'][] = []
  const locks: TabLocks = {
    request: (_, options, callback) =>
      new Promise((resolve, reject) => {
        options.signal?.addEventListener('abort', () => reject(new Error('aborted')))
        requests.push({
          options,
          fail: reject,
          grant: () => {
            let state = 'held'
            void callback({}).then(() => {
              state = 'released'
              resolve(undefined)
            })
            return settle().then(() => state)
          },
        })
      }),
  }
  const lock = new TabLock(locks, 'chat', ({ type }) => told.push(type))
  return { lock, told, requests, last: () => requests.at(-1) as (typeof requests)[number] }
}

describe('the lock of the leader', () => {
  test('it is held until its end', async () => {
    const { lock, told, last } = world()
    lock.wait()
    await settle()
    expect(await last().grant()).toBe('held')
    lock.end()
    await settle()
    expect(told).toEqual(['lock.granted'])
  })

  test('a lock that was stolen is waited for again', async () => {
    const { lock, told, requests, last } = world()
    lock.wait()
    await settle()
    await last().grant()
    last().fail(new DOMException('stolen', 'AbortError'))
    await settle()
    expect(told).toEqual(['lock.granted', 'lock.lost'])
    expect(requests).toHaveLength(2)
    expect(requests[1]?.options.steal).toBeUndefined()
  })

  test('a lock that comes after its end is given back at once, without a word', async () => {
    const { lock, told, last } = world()
    lock.steal()
    await settle()
    lock.end()
    expect(await last().grant()).toBe('released')
    expect(told).toEqual([])
  })

  test('whoever steals does not wait in the queue any more, and names no signal', async () => {
    const { lock, told, requests, last } = world()
    lock.wait()
    await settle()
    lock.steal()
    await settle()
    expect(requests[0]?.options.signal?.aborted).toBe(true)
    expect(last().options).toEqual({ steal: true })
    await last().grant()
    expect(told).toEqual(['lock.granted'])
  })

  test('locks that fail, or throw, are told once', async () => {
    const { lock, told, last } = world()
    lock.wait()
    await settle()
    last().fail(new Error('denied'))
    await settle()
    expect(told).toEqual(['lock.failed'])
    const throws = {
      request: () => {
        throw new Error('no')
      },
    }
    const facts: string[] = []
    new TabLock(throws, 'chat', ({ type }) => facts.push(type)).wait()
    await settle()
    expect(facts).toEqual(['lock.failed'])
  })
})
