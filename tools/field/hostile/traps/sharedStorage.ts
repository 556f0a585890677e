import { createConnection } from 'holdline'
import { persist, type StorageLike } from 'holdline/storage'
import type { Trap } from '../trap'
import { found, KIB, text } from '../wire'

/** Of what was set aside because it could not be read. */
const MAX_CORRUPT = 256 * KIB

function mapStorage(entries: Readonly<Record<string, string>> = {}) {
  const map = new Map(Object.entries(entries))
  const storage: StorageLike = {
    get length() {
      return map.size
    },
    key: (index) => [...map.keys()][index] ?? null,
    getItem: (key) => map.get(key) ?? null,
    setItem: (key, value) => void map.set(key, value),
    removeItem: (key) => void map.delete(key),
  }
  return { storage, map }
}

function connectionOn(storage: StorageLike, key: string) {
  const connection = createConnection({
    url: 'http://127.0.0.1:9/chat',
    pageLifecycle: false,
    storage: persist(storage, { key, cursors: true }),
  })
  connection.on('error', () => {})
  return connection
}

const stored = (id: string) =>
  JSON.stringify({ id, message: { type: 'send', prompt: 'secret' }, attempts: 0, expiresAt: null })

/**
 * Another app, another login or a visitor with the developer tools writes where this client reads.
 */
export const sharedStorage: Trap = {
  row: 'C108',
  name: 'a storage that others write to',
  over: [],
  async run() {
    const failures = [...keysThatRunTogether(), ...placesWithoutNumber(), ...(await leftAside())]
    return found({}, ...failures)
  },
}

function keysThatRunTogether(): string[] {
  const pairs = [
    ['a:message:x', 'a'],
    ['a:b', 'a'],
    ['a', 'a:message:x'],
    ['a:cursor', 'a'],
    ['a%3Amessage%3Ax', 'a:message:x'],
  ] as const
  return pairs.flatMap(([writer, reader]) => {
    const { storage } = mapStorage()
    const first = connectionOn(storage, writer)
    first.send({ type: 'send', prompt: 'secret' }, { id: 'm1' })
    first.dispose()
    const second = connectionOn(storage, reader)
    const adopted = second.pending.length
    second.clearOutbox()
    second.dispose()
    const third = connectionOn(storage, writer)
    const left = third.pending.length
    third.dispose()
    return [
      ...(adopted ? [`key '${reader}' has adopted a message of key '${writer}'`] : []),
      ...(left === 1 ? [] : [`clearOutbox() of key '${reader}' has deleted a message of key '${writer}'`]),
    ]
  })
}

function placesWithoutNumber(): string[] {
  return ['Infinity', '1e308', '1e999', '9007199254740993', '-1', '0x10', ' 7', '1.5'].flatMap((number) => {
    const { storage, map } = mapStorage({ [`a:message:o:${number}`]: stored('old') })
    const connection = connectionOn(storage, 'a')
    for (const id of ['one', 'two', 'three']) connection.send({ type: 'send' }, { id })
    connection.dispose()
    const ids = ['one', 'two', 'three'].filter((id) => [...map.values()].some((json) => json.includes(`"${id}"`)))
    return ids.length === 3
      ? []
      : [`after a place with number ${number} only ${ids.join(', ')} of 3 messages are stored`]
  })
}

async function leftAside(): Promise<string[]> {
  const corrupt = Object.fromEntries(
    Array.from({ length: 200 }, (_, n) => [`a:message:o:${n + 1}`, `{"prompt":"secret ${text(5 * KIB)}`]),
  )
  const { storage, map } = mapStorage(corrupt)
  const connection = connectionOn(storage, 'a')
  await new Promise((resolve) => setTimeout(resolve, 20))
  const aside = [...map].reduce((sum, [, value]) => sum + value.length, 0)
  connection.clearOutbox()
  connection.dispose()
  const secrets = [...map].filter(([, value]) => value.includes('secret')).map(([key]) => key)
  return [
    ...(aside > MAX_CORRUPT ? [`${aside} characters were set aside as corrupt, more than ${MAX_CORRUPT}`] : []),
    ...(secrets.length ? [`after clearOutbox() prompts are left under ${secrets.slice(0, 3).join(', ')}`] : []),
  ]
}
