import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { MAX_CANCELS } from '../../protocol'
import { createChatServer } from '../../server'
import { MIN_RECEIPT_AGE } from '../../server/command/receipts'
import { Budgets } from '../../server/limits/budget'
import { LIMITS } from '../../server/limits/limits'
import {
  FRAME_WEIGHT,
  LANE_WEIGHT,
  MAX_SWELLING,
  RECEIPT_WEIGHT,
  REQUEST_WEIGHT,
  SESSION_WEIGHT,
} from '../../server/limits/weights'
import { MAX_SESSIONS } from '../../server/stream/endedStreams'
import { MAX_AT_DOOR } from '../../server/websocket/door'
import { MAX_HELD_BYTES } from '../../server/websocket/heldFrames'

const text = readFileSync(new URL('../../../docs/limits.md', import.meta.url), 'utf8')
const commas = (value: number) => value.toLocaleString('en-US')
/** Of a stream that has just ended: its id, its principal's, and one of its sessions. */
const ENDED_WEIGHT = 256

const hooks = { authenticate: () => ({ id: 'a' }), authorize: () => true, onCommand: () => null }

describe('docs/limits.md', () => {
  test.each(Object.entries(LIMITS))('has the default of limits.%s', (name, value) => {
    expect(text).toContain(`| \`${name}\` | ${commas(value)} |`)
  })

  test('names no limit that is none', () => {
    const [server = ''] = text.split('What is no option')
    const names = [...server.matchAll(/^\| `(\w+)` \| [\d,]+ \| \w+ \|/gm)].map(([, name]) => name)
    expect(names).toEqual(Object.keys(LIMITS))
  })

  test('has what each thing costs', () => {
    expect(text).toContain(`| a request that waits for anything | ${commas(REQUEST_WEIGHT)} |`)
    expect(text).toContain(`at most ${MAX_SWELLING} for each byte`)
    expect(text).toContain(`| a receipt | ${RECEIPT_WEIGHT}, and its texts |`)
    expect(text).toContain(`| a session attached to a stream | ${commas(SESSION_WEIGHT)} |`)
    expect(text).toContain(`| a frame that waits, over a WebSocket | ${commas(FRAME_WEIGHT)},`)
    expect(text).toContain(`of a socket, that waits for a repeat | ${commas(LANE_WEIGHT)}, and its name`)
    expect(text).toContain(`names in \`cancels\` | ${commas(MAX_CANCELS)} |`)
    expect(text).toContain(`80, and ${commas(MAX_HELD_BYTES)} bytes`)
    expect(text).toContain(`none that is younger than ${MIN_RECEIPT_AGE / 60_000} min`)
  })

  test('has the sum of the defaults', () => {
    const parts = [LIMITS.memory, MAX_AT_DOOR, MAX_SESSIONS * ENDED_WEIGHT] as const
    const sum = parts.reduce((all, part) => all + part, 0)
    const [memory, atDoor, ended] = parts.map(commas)
    expect(text.replace(/\s+/g, ' ')).toContain(
      `\`memory\` ${memory} + sockets without a welcome ${atDoor} + streams that have just ended ${ended} = **${commas(sum)} bytes (${Math.ceil(sum / 2 ** 20)} MiB)**`,
    )
  })

  test('says how little memory a server may have: a share of it holds the largest message, parsed', () => {
    const least = 320 * LIMITS.bodyBytes
    expect(text).toContain(`memory: ${least.toLocaleString('en-US').replaceAll(',', '_')} }`)
    expect(() => createChatServer({ ...hooks, limits: { memory: least - 1 } })).toThrow(
      /'limits\.memory' must be an integer/,
    )
    createChatServer({ ...hooks, limits: { memory: least } })
    // Larger bodies bring their memory along.
    createChatServer({ ...hooks, limits: { bodyBytes: 4_194_304 } })
    expect(new Budgets(least).share).toBeGreaterThan(REQUEST_WEIGHT + (2 * 2 + MAX_SWELLING) * LIMITS.bodyBytes)
  })
})
