import { chat } from './chat'

export const GET = (request: Request) => chat.fetch(request)
export const POST = (request: Request) => chat.fetch(request)
