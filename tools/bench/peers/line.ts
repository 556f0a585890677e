import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Peer } from './peers'
import type { Report } from './protocol'
import { type Relay, startRelay } from './relay'
import type { PeerServer } from './servers/server'

/** The longest that a client's process may live, ms. */
const LIFETIME = 180_000

export interface Setup {
  readonly peer: Peer
  /** The path of the client's program. */
  readonly program: string
  /** So many messages go to the client as soon as it is there. */
  readonly flood?: number
  /** The first prompt gets through, and the line is cut before its answer leaves. */
  readonly cutsAnswer?: boolean
}

type Kind = Report['is']
type Told<K extends Kind> = Extract<Report, { readonly is: K }>

/** A client in a process of its own, its server, and the relay between them. */
export class Line {
  private readonly reports: Report[] = []
  private readonly waiting = new Set<() => void>()

  private constructor(
    readonly server: PeerServer,
    readonly relay: Relay,
    /** Those that the server was given. */
    readonly prompts: readonly string[],
    private readonly child: ChildProcess,
  ) {
    child.on('message', (report: Report) => {
      this.reports.push(report)
      for (const look of this.waiting) look()
    })
  }

  static async open({ peer, program, flood = 0, cutsAnswer = false }: Setup): Promise<Line> {
    const prompts: string[] = []
    const startServer = await peer.startServer()
    const server = await startServer({
      flood,
      onPrompt(id) {
        if (cutsAnswer && prompts.length === 0) relay.cut()
        prompts.push(id)
      },
    })
    const relay = await startRelay(server.port)
    const url = `http://127.0.0.1:${relay.port}`
    const env = { ...process.env, NODE_ENV: 'production' }
    const child = fork(program, [peer.client, url, String(flood)], { env, execArgv: [], timeout: LIFETIME })
    return new Line(server, relay, prompts, child)
  }

  send(prompt: string) {
    if (this.child.connected) this.child.send({ prompt })
  }

  /** The first report of a kind at or after a time; undefined if none comes within so many ms. */
  async report<K extends Kind>(
    is: K,
    after: number,
    within: number,
    fits: (report: Told<K>) => boolean = () => true,
  ): Promise<Told<K> | undefined> {
    const find = () =>
      this.reports.find(
        (report): report is Told<K> => report.is === is && report.at >= after && fits(report as Told<K>),
      )
    return find() ?? (await this.wait(find, within))
  }

  private wait<T>(find: () => T | undefined, within: number): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer)
        this.waiting.delete(look)
        this.child.off('exit', fail)
      }
      const look = () => {
        const found = find()
        if (!found) return
        end()
        resolve(found)
      }
      // A client that crashed is no client that never came back.
      const fail = () => {
        end()
        reject(new Error(`${this.child.spawnargs.at(2)}: the process of the client has ended`))
      }
      const timer = setTimeout(() => {
        end()
        resolve(undefined)
      }, within)
      this.waiting.add(look)
      this.child.once('exit', fail)
      if (this.isOver) fail()
    })
  }

  private get isOver() {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  async close() {
    if (!this.isOver) {
      const exit = once(this.child, 'exit')
      this.child.kill('SIGKILL')
      await exit
    }
    await this.relay.close()
    await this.server.close()
  }
}

export async function withLine<T>(setup: Setup, work: (line: Line) => Promise<T>): Promise<T> {
  const line = await Line.open(setup)
  try {
    return await work(line)
  } finally {
    await line.close()
  }
}
