import type { Standing } from './types'

export type PageFact = { readonly type: 'page.shown' | 'page.hidden' | 'page.left' | 'page.back' }

interface EventScope {
  addEventListener(type: string, listener: (event: Event) => void): void
  removeEventListener(type: string, listener: (event: Event) => void): void
}

/** What is used of a window, or of a worker's global scope. */
export interface TabScope extends Partial<EventScope> {
  readonly document?: EventScope & { readonly visibilityState: string }
}

/** Without a document it is a worker. */
export const standingOf = ({ document }: TabScope): Standing =>
  document ? (document.visibilityState === 'hidden' ? 'hidden' : 'visible') : 'worker'

const FACTS: Readonly<Record<string, PageFact['type']>> = {
  pagehide: 'page.left',
  freeze: 'page.left',
  pageshow: 'page.back',
  resume: 'page.back',
}

/** Tells how the page is, now and from now on. Returns the function that ends it. */
export function watchPage(scope: TabScope, tell: (fact: PageFact) => void): () => void {
  const { document } = scope
  const look = () => tell({ type: standingOf(scope) === 'hidden' ? 'page.hidden' : 'page.shown' })
  const hear = ({ type }: Event) => {
    const fact = FACTS[type]
    if (fact) tell({ type: fact })
    else look()
  }
  const change = (method: 'addEventListener' | 'removeEventListener') => {
    for (const type of ['pagehide', 'pageshow']) scope[method]?.(type, hear)
    for (const type of ['visibilitychange', 'freeze', 'resume']) document?.[method](type, hear)
  }
  change('addEventListener')
  if (document) look()
  return () => change('removeEventListener')
}
