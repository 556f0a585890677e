import { rmSync, writeFileSync } from 'node:fs'
import { readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { fileStore } from '../../../server/node'
import { STORES, temporaryFolder } from './world'

const at = (lastSeq: number, epoch = 'e1') => ({ lastSeq, epoch })

describe.each(STORES)('%s', (_, createStore) => {
  test('has nothing of a session that was never saved, and then what was saved last', async () => {
    const store = createStore()
    expect(await store.load('s1')).toBeUndefined()
    expect(await store.save('s1', { state: ['a'], cursor: at(1) }, undefined)).toBe(true)
    expect(await store.save('s1', { state: ['a', 'b'], cursor: at(2) }, at(1))).toBe(true)
    expect(await store.load('s1')).toEqual({ state: ['a', 'b'], cursor: at(2) })
    expect(await store.load('S1')).toBeUndefined()
  })

  test.each([
    ['nothing, and something is saved', undefined],
    ['an older cursor', at(1)],
    ['a newer cursor', at(3)],
    ['a cursor of another epoch', at(2, 'e0')],
  ])('refuses what was made of %s: nothing is replaced', async (_, before) => {
    const store = createStore()
    await store.save('s1', { state: 'first', cursor: at(1) }, undefined)
    await store.save('s1', { state: 'newest', cursor: at(2) }, at(1))
    expect(await store.save('s1', { state: 'late', cursor: at(9) }, before)).toBe(false)
    expect(await store.load('s1')).toEqual({ state: 'newest', cursor: at(2) })
  })

  test('refuses what was made of a cursor, where nothing is saved', async () => {
    const store = createStore()
    expect(await store.save('s1', { state: 'late', cursor: at(9) }, at(1))).toBe(false)
    expect(await store.load('s1')).toBeUndefined()
  })

  test('of many that save one session at the same time none undoes what another has saved', async () => {
    const store = createStore()
    const addOne = async () => {
      for (;;) {
        const saved = await store.load('s1')
        const count = Number(saved?.state ?? 0) + 1
        if (await store.save('s1', { state: count, cursor: at(count) }, saved?.cursor)) return
      }
    }
    const tenTimes = async () => {
      for (let times = 0; times < 10; times += 1) await addOne()
    }
    await Promise.all(Array.from({ length: 6 }, tenTimes))
    expect((await store.load('s1'))?.state).toBe(60)
  })
})

describe('fileStore', () => {
  async function saved() {
    const folder = temporaryFolder()
    const store = fileStore(folder)
    await store.save('s1', { state: ['a'], cursor: at(1) }, undefined)
    const [own = ''] = await readdir(folder)
    return { store, own: join(folder, own) }
  }

  test('a folder is not named by the id of its session: some file systems do not tell a from A', async () => {
    const folder = temporaryFolder()
    const store = fileStore(folder)
    for (const id of ['s1', 'S1', 'a:b']) await store.save(id, { state: id, cursor: at(1) }, undefined)
    const names = await readdir(folder)
    expect(names).toHaveLength(3)
    expect(names.filter((name) => !/^[0-9a-f]{32}$/.test(name))).toEqual([])
  })

  test('a file that is gone when it is to be read has been replaced: it is no empty history', async () => {
    const { store, own } = await saved()
    await symlink(join(own, 'gone'), join(own, '2.json'))
    const loading = store.load('s1')
    const newest = { state: ['newest'], cursor: at(3) }
    await writeFile(join(own, 'draft'), JSON.stringify(newest))
    await rename(join(own, 'draft'), join(own, '3.json'))
    expect(await loading).toEqual(newest)
  })

  test('a folder that cannot be read is no empty history', async () => {
    const file = join(temporaryFolder(), 'file')
    await writeFile(file, '')
    await expect(fileStore(file).load('s1')).rejects.toThrow('ENOTDIR')
  })

  test('a save that another one overtakes while it writes is refused, and leaves no draft', async () => {
    const { store, own } = await saved()
    const newest = { state: ['newest'], cursor: at(2) }
    const late = { toJSON: () => writeFileSync(join(own, '2.json'), JSON.stringify(newest)) }
    expect(await store.save('s1', { state: late, cursor: at(3) }, at(1))).toBe(false)
    expect(await store.load('s1')).toEqual(newest)
    expect(await readdir(own)).toEqual(['1.json', '2.json'])
  })

  test('leaves one file for each session, which is another one after each save', async () => {
    const { store, own } = await saved()
    await store.save('s1', { state: ['a', 'b'], cursor: at(2) }, at(1))
    expect(await readdir(own)).toEqual(['2.json'])
    expect(JSON.parse(await readFile(join(own, '2.json'), 'utf8'))).toMatchObject({ sessionId: 's1' })
  })

  test('a process that is killed while it writes leaves what was saved, and its draft goes with the next save', async () => {
    const { store, own } = await saved()
    await writeFile(join(own, 'killed.draft'), '{"cursor":{"lastS')
    expect(await store.load('s1')).toEqual({ state: ['a'], cursor: at(1) })
    expect(await store.save('s1', { state: ['b'], cursor: at(2) }, at(1))).toBe(true)
    expect(await readdir(own)).toEqual(['2.json'])
  })

  test('an older file that a late process has left is not what is saved', async () => {
    const { store, own } = await saved()
    await store.save('s1', { state: ['a', 'b'], cursor: at(2) }, at(1))
    await writeFile(join(own, '1.json'), JSON.stringify({ state: ['late'], cursor: at(1) }))
    expect(await store.load('s1')).toEqual({ state: ['a', 'b'], cursor: at(2) })
  })

  test('a process that others overtake twice while it writes is refused, and what they have saved stays', async () => {
    const { store, own } = await saved()
    const newest = { state: ['newest'], cursor: at(3) }
    const late = {
      // It is called once the store has found nothing newer.
      toJSON() {
        writeFileSync(join(own, '3.json'), JSON.stringify(newest))
        rmSync(join(own, '1.json'))
        return ['late']
      },
    }
    expect(await store.save('s1', { state: late, cursor: at(2) }, at(1))).toBe(false)
    expect(await store.load('s1')).toEqual(newest)
  })
})
