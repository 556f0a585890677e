/** Why a command ends without having done its work, in one sentence for the terminal. */
export class CliError extends Error {
  constructor(
    message: string,
    /** 1: it could not be done. 2: it was called wrongly, and nothing was touched. */
    readonly exitCode: 1 | 2,
  ) {
    super(message)
  }
}
