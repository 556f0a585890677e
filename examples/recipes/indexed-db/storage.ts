import type { AsyncStorageLike } from 'holdline/storage'

/** A database with one store of texts. Workers have it too. */
export function indexedDbStorage(name = 'holdline'): AsyncStorageLike {
  let database: Promise<IDBDatabase> | undefined
  const open = () =>
    new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(name, 1)
      const forget = () => {
        database = undefined
      }
      request.onupgradeneeded = () => request.result.createObjectStore('entries')
      request.onsuccess = () => {
        // The browser may close it, e.g. when the user clears what the site has stored.
        request.result.onclose = forget
        resolve(request.result)
      }
      request.onerror = () => {
        forget()
        reject(request.error)
      }
    })

  async function run<T>(mode: IDBTransactionMode, work: (entries: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    database ??= open()
    const transaction = (await database).transaction('entries', mode)
    const request = work(transaction.objectStore('entries'))
    return new Promise((resolve, reject) => {
      // Not before: until then it may be undone, e.g. where the disk is full.
      transaction.oncomplete = () => resolve(request.result)
      transaction.onabort = () => reject(transaction.error)
    })
  }

  return {
    getAllKeys: async () => (await run('readonly', (entries) => entries.getAllKeys())).map(String),
    getItem: async (key) => (await run('readonly', (entries) => entries.get(key))) ?? null,
    setItem: (key, value) => run('readwrite', (entries) => entries.put(value, key)),
    removeItem: (key) => run('readwrite', (entries) => entries.delete(key)),
  }
}
