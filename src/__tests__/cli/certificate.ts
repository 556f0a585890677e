import { generateKeyPairSync, sign } from 'node:crypto'

// A certificate that no browser trusts: its own authority, from 2020 to 2049.

/** [spec] X.690: a tag, a length, the content. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
const [INTEGER, BITS, OID, UTF8, TIME, SEQUENCE, SET] = [0x02, 0x03, 0x06, 0x0c, 0x17, 0x30, 0x31] as const

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
/** ecdsa-with-SHA256. */
const ALGORITHM = der(SEQUENCE, der(OID, Buffer.from('2a8648ce3d040302', 'hex')))
const COMMON_NAME = der(OID, Buffer.from('550403', 'hex'))
const NAME = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8, Buffer.from('holdline test')))))
const time = (text: string) => der(TIME, Buffer.from(text))

/** [spec] RFC 5280, §4.1, version 1. */
const body = der(
  SEQUENCE,
  der(INTEGER, Buffer.from([1])),
  ALGORITHM,
  NAME,
  der(SEQUENCE, time('200101000000Z'), time('490101000000Z')),
  NAME,
  publicKey.export({ type: 'spki', format: 'der' }),
)
const signature = der(BITS, Buffer.from([0]), sign('sha256', body, privateKey))
const base64 = der(SEQUENCE, body, ALGORITHM, signature).toString('base64')

export const KEY = privateKey.export({ type: 'pkcs8', format: 'pem' })
export const CERTIFICATE = `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`
