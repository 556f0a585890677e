/** To the page: somebody asks, or does not want to know any more. */
export type ToPage =
  | {
      readonly type: 'request'
      readonly id: number
      readonly method: string
      readonly url: string
      readonly headers: readonly (readonly [string, string])[]
      readonly body: string | null
    }
  | { readonly type: 'cancel'; readonly id: number }

/**
 * From the page: the answer, piece by piece; and `cut` for the end of every connection but this
 * one.
 */
export type FromPage =
  | {
      readonly type: 'response'
      readonly id: number
      readonly status: number
      readonly headers: readonly (readonly [string, string])[]
    }
  | { readonly type: 'chunk'; readonly id: number; readonly text: string }
  | { readonly type: 'end' | 'error'; readonly id: number }
  | { readonly type: 'cut' }
