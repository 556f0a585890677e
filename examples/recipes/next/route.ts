import { chat } from './server'

export const GET = chat.fetch
export const POST = chat.fetch
