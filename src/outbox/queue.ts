/** A value in a queue. */
export interface Node<Value> {
  readonly value: Value
  previous: Node<Value> | undefined
  next: Node<Value> | undefined
}

/** A linked list: to take the first of an array or a Map again and again is not linear. */
export class Queue<Value> {
  first: Node<Value> | undefined
  #last: Node<Value> | undefined

  push(value: Value): Node<Value> {
    const node: Node<Value> = { value, previous: this.#last, next: undefined }
    if (this.#last) this.#last.next = node
    else this.first = node
    this.#last = node
    return node
  }

  unshift(value: Value): Node<Value> {
    const node: Node<Value> = { value, previous: undefined, next: this.first }
    if (this.first) this.first.previous = node
    else this.#last = node
    this.first = node
    return node
  }

  /** Once for each node. */
  remove(node: Node<Value>) {
    if (node.previous) node.previous.next = node.next
    else this.first = node.next
    if (node.next) node.next.previous = node.previous
    else this.#last = node.previous
  }

  *[Symbol.iterator](): Generator<Value> {
    for (let node = this.first; node; node = node.next) yield node.value
  }
}
