// As much of it as the example uses. Node 22 has the module; @types/node 22 has its types.
declare module 'node:sqlite' {
  type Row = Readonly<Record<string, unknown>>
  export class DatabaseSync {
    constructor(path: string)
    exec(sql: string): void
    prepare(sql: string): {
      run(...values: readonly (string | number)[]): { readonly changes: number | bigint }
      get(...values: readonly (string | number)[]): Row | undefined
    }
    close(): void
  }
}
