import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createLogin } from '../server/login'
import { readSettings } from '../server/settings'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const login = createLogin(readSettings({ NODE_ENV: 'development' }))

/**
 * Of a browser that has logged in: its requests from then on, whatever cookie it is given later.
 */
async function enter() {
  vi.advanceTimersByTime(1_000)
  const entered = await login.enter({ name: 'ann', password: 'ann' })
  const [cookie = ''] = entered?.cookie.split(';') ?? []
  return new Request('http://localhost/api/me', { headers: { cookie } })
}

test('a login that was ended is refused, though its cookie may still be sent, and another one of the user is good', async () => {
  const [here, there] = [await enter(), await enter()]
  expect(login.userOf(here)).toEqual({ id: 'ann' })
  expect(login.leave(here)).toContain('Max-Age=0')
  expect(login.userOf(here)).toBeNull()
  expect(login.userOf(there)).toEqual({ id: 'ann' })
})

test('a login ends by itself', async () => {
  const request = await enter()
  vi.advanceTimersByTime(12 * 3_600_000)
  expect(login.userOf(request)).toBeNull()
})
