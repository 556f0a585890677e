/** A field of `INFO`; '' if there is none of that name. */
export type Info = (field: string) => string

export async function readInfo(asking: Promise<string>): Promise<Info> {
  const text = await asking.catch((cause: Error) => {
    throw new Error(`redisLog: Redis does not answer (${cause.message})`, { cause })
  })
  return (field) => new RegExp(`^${field}:(.*?)\\r?$`, 'm').exec(text)?.[1] ?? ''
}

/** @throws if Redis may evict what it holds */
export function refuseEviction(info: Info): void {
  const policy = info('maxmemory_policy')
  if (Number(info('maxmemory')) > 0 && policy !== 'noeviction') {
    throw new Error(`redisLog: Redis must not evict: its maxmemory-policy is '${policy}', and must be 'noeviction'`)
  }
}
