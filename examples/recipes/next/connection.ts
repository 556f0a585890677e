'use client'

import { createConnection } from 'holdline'

// This is also evaluated where the page is built and rendered. Nothing happens there: only `connect()` needs a page.
export const connection = createConnection({ url: '/api/chat' })
