type Props = Readonly<Record<string, string | number | boolean | ((event: Event) => void) | undefined>>

/** An element: attributes by their names, listeners by `on…`. Text is always text, never markup. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  props: Props = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value)
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : String(value))
  }
  element.append(...children)
  return element
}

/** An element of index.html; it is a bug if it is not there. */
export function byId<Tag extends keyof HTMLElementTagNameMap>(id: string, tag: Tag): HTMLElementTagNameMap[Tag] {
  const element = document.querySelector<HTMLElementTagNameMap[Tag]>(`${tag}#${id}`)
  if (!element) throw new Error(`index.html has no ${tag}#${id}`)
  return element
}

/** Writes only what changed, so that a selection and a screen reader are left alone. */
export function setText(element: Element, text: string) {
  if (element.textContent !== text) element.textContent = text
}

/** Likewise, so that no stylesheet is asked again for nothing. */
export function setAttribute(element: Element, name: string, value: string) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value)
}

/**
 * One child per item, in their order. A child is made once per key, updated when its item changes,
 * and goes with it.
 */
export function keyedList<Item extends object>(
  parent: Element,
  keyOf: (item: Item) => string,
  isSame: (a: Item, b: Item) => boolean,
  create: (item: Item) => { readonly element: Element; update(item: Item): void },
) {
  const children = new Map<string, { item: Item; element: Element; update(item: Item): void }>()
  return (items: readonly Item[]) => {
    const keys = new Set(items.map(keyOf))
    for (const [key, { element }] of children) {
      if (keys.has(key)) continue
      element.remove()
      children.delete(key)
    }
    items.forEach((item, index) => {
      const key = keyOf(item)
      const known = children.get(key)
      const child = known ?? { item, ...create(item) }
      if (!known || !isSame(child.item, item)) child.update(item)
      child.item = item
      children.set(key, child)
      if (parent.children[index] !== child.element) parent.insertBefore(child.element, parent.children[index] ?? null)
    })
  }
}
