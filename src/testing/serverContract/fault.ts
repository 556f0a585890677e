/** A rule is broken: the two halves of the sentence that says so. */
export class Fault extends Error {
  override readonly name = 'Fault'

  constructor(
    readonly sent: string,
    readonly came: string,
  ) {
    super(`${sent}: ${came}`)
  }
}

/** The server has not announced what the rule is about. */
export class NotPromised extends Error {
  override readonly name = 'NotPromised'
}

/** The rule cannot be tried. */
export class Skipped extends Error {
  override readonly name = 'Skipped'
}
