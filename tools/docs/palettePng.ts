import { deflateSync } from 'node:zlib'
import type { Page } from 'playwright-core'

/**
 * A screenshot with the 256 colours that it has most of, each pixel in the nearest of them: a third
 * of the size.
 */
export async function palettePng(page: Page, screenshot: Buffer): Promise<Buffer> {
  // esbuild, which runs this, marks functions with it.
  await page.evaluate('globalThis.__name = (thing) => thing')
  const { width, height, palette, rows } = await page.evaluate(quantize, screenshot.toString('base64'))
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  // 8 bits, indexed.
  header.set([8, 3], 8)
  return Buffer.concat([
    Buffer.from('89504e470d0a1a0a', 'hex'),
    chunk('IHDR', header),
    chunk('PLTE', Buffer.from(palette)),
    chunk('IDAT', deflateSync(Buffer.from(rows, 'base64'), { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

/** In the page: the browser can read a PNG. Each row begins with a 0: unfiltered. */
async function quantize(png: string) {
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0))
  const bitmap = await createImageBitmap(new Blob([bytes]))
  const { width, height } = bitmap
  const context = new OffscreenCanvas(width, height).getContext('2d') as OffscreenCanvasRenderingContext2D
  context.drawImage(bitmap, 0, 0)
  const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer)
  const counts = new Map<number, number>()
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1)
  const byCount = [...counts].sort(([, a], [, b]) => b - a).map(([pixel]) => pixel)
  const split = (pixel: number) => [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255]
  const palette = byCount.slice(0, 256).map(split)
  const nearest = new Map(
    byCount.map((pixel) => {
      const colour = split(pixel)
      const distances = palette.map((other) =>
        other.reduce((sum, part, at) => sum + (part - (colour[at] ?? 0)) ** 2, 0),
      )
      return [pixel, distances.indexOf(Math.min(...distances))]
    }),
  )
  let rows = ''
  pixels.forEach((pixel, index) => {
    rows += (index % width === 0 ? '\0' : '') + String.fromCharCode(nearest.get(pixel) ?? 0)
  })
  return { width, height, palette: palette.flat(), rows: btoa(rows) }
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  check.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, check])
}

function crc32(bytes: Buffer): number {
  let crc = ~0
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}
