import { act, createElement, type FunctionComponent, type ReactNode } from 'react'
import { createRoot, type Root } from 'react-dom/client'

// As much of @testing-library/react as the tests use: its own copy would bring React 19.

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true })

const mounted: { readonly root: Root; readonly container: HTMLElement }[] = []

export { act }

export function cleanup() {
  for (const { root, container } of mounted.splice(0)) {
    act(() => root.unmount())
    container.remove()
  }
}

export function render(children: ReactNode) {
  const container = document.body.appendChild(document.createElement('div'))
  const root = createRoot(container)
  mounted.push({ root, container })
  const rerender = (next: ReactNode) => act(() => root.render(next))
  rerender(children)
  return {
    container,
    rerender,
    unmount: () => act(() => root.unmount()),
    getByRole: (role: string) => container.querySelector(role),
  }
}

export function renderHook<Result>(hook: () => Result, { wrapper }: { wrapper?: FunctionComponent } = {}) {
  const result = {} as { current: Result }
  const Probe = () => {
    result.current = hook()
    return null
  }
  render(wrapper ? createElement(wrapper, null, createElement(Probe)) : createElement(Probe))
  return { result }
}
