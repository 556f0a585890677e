/** A GET, or a POST of JSON. */
export async function ask<Answer>(path: string, post?: object): Promise<Answer> {
  const answer = await fetch(path, post && { method: 'POST', body: JSON.stringify(post) })
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`)
  return answer.json()
}
