import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../shared/freePort'
import { findTool } from '../tools'
import { snippet } from './snippet'

/** What a test changes of a configuration. */
export interface Tuning {
  /** Directives beside the snippet; those of HAProxy are of its backend, and Caddy takes none. */
  readonly more?: string
  /** In the place of the snippet. */
  readonly text?: string
  /** Of Apache, beside those that the snippet needs. */
  readonly modules?: readonly string[]
  /** How long the proxy waits for a byte of the upstream, s; as it is by default without. */
  readonly idle?: number
}

interface Place {
  readonly folder: string
  readonly port: number
  readonly upstream: number
}

interface Kind {
  readonly tool: string
  /** The file to write, and what to start the tool with. */
  prepare(text: string, place: Place, tuning: Tuning): { readonly config: string; readonly args: readonly string[] }
}

/** Folders of the modules by distribution. */
const APACHE_MODULES = [
  '/usr/lib/apache2/modules',
  '/usr/lib64/httpd/modules',
  '/usr/lib/httpd/modules',
  '/usr/libexec/apache2',
]
const moved = (text: string, { port, upstream }: Place) =>
  text.replaceAll('127.0.0.1:3000', `127.0.0.1:${upstream}`).replaceAll(':8080', `:${port}`)

const KINDS: Readonly<Record<string, Kind>> = {
  nginx: {
    tool: 'nginx',
    prepare(text, place, { more = '', idle }) {
      const { folder, port } = place
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
        (name) => `${name}_temp_path ${folder}/${name};`,
      )
      // One process: the workers of a master that is root would be nobody, and could not write
      // here.
      const config = `daemon off; master_process off; pid ${folder}/pid; error_log stderr;
events {}
http {
  access_log off;
  ${temporary.join('\n  ')}
  ${idle === undefined ? '' : `proxy_read_timeout ${idle}s;`}
  server {
    listen 127.0.0.1:${port};
    ${more}
    ${moved(text, place)}
  }
}
`
      return { config, args: ['-p', folder, '-e', 'stderr', '-c', `${folder}/config`] }
    },
  },

  apache: {
    tool: 'apache2',
    prepare(text, place, { more = '', idle, modules: others = [] }) {
      const { folder, port } = place
      const modules = APACHE_MODULES.find((path) => existsSync(path)) ?? ''
      const loads = ['mpm_event', 'unixd', 'authz_core', 'proxy', 'proxy_http', ...others]
        .filter((name) => existsSync(`${modules}/mod_${name}.so`))
        .map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`)
      const config = `ServerRoot ${folder}
ServerName 127.0.0.1
PidFile ${folder}/pid
DefaultRuntimeDir ${folder}
ErrorLog ${folder}/log
Listen 127.0.0.1:${port}
${loads.join('\n')}
${process.getuid?.() === 0 ? 'User nobody\nGroup #65534' : ''}
${idle === undefined ? '' : `Timeout ${idle}`}
${more}
${moved(text, place)}
`
      return { config, args: ['-X', '-f', `${folder}/config`] }
    },
  },

  haproxy: {
    tool: 'haproxy',
    prepare(text, place, { more = '', idle }) {
      const config = idle === undefined ? text : text.replace(/timeout (client|server) 50s/g, `timeout $1 ${idle}s`)
      return { config: moved(`${config}${more}\n`, place), args: ['-db', '-f', `${place.folder}/config`] }
    },
  },

  caddy: {
    tool: 'caddy',
    prepare(text, place) {
      const config = `{\n  admin off\n  auto_https off\n}\n${moved(text, place)}`
      return { config, args: ['run', '--adapter', 'caddyfile', '--config', `${place.folder}/config`] }
    },
  },
}

/** The kind is the first word of a snippet's name. */
export const kindOf = (name: string): Kind => {
  const kind = KINDS[name.split('-')[0] ?? '']
  if (!kind) throw new Error(`no kind of proxy is named ${name}`)
  return kind
}

/**
 * A real proxy with a configuration from docs/proxies.md, on a free port of 127.0.0.1, before
 * `upstream`.
 */
export async function startProxy(name: string, upstream: number, tuning: Tuning = {}) {
  const { tool, prepare } = kindOf(name)
  const folder = await mkdtemp(join(tmpdir(), 'holdline-proxy-'))
  const port = await freePort()
  const { config, args } = prepare(tuning.text ?? snippet(name), { folder, port, upstream }, tuning)
  await writeFile(join(folder, 'config'), config)
  // Caddy keeps its own things in the home folder.
  const env = { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }
  const proxy = spawn(findTool(tool) ?? tool, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const kill = () => proxy.kill('SIGKILL')
  process.once('exit', kill)
  const exit = once(proxy, 'exit').finally(() => process.off('exit', kill))
  let said = ''
  for (const output of [proxy.stdout, proxy.stderr]) output.on('data', (bytes) => (said += bytes))
  while (!(await isListening(port))) {
    if (proxy.exitCode !== null) {
      const log = await readFile(join(folder, 'log'), 'utf8').catch(() => '')
      throw new Error(`${tool} does not start:\n${said}${log}\n${config}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return {
    origin: `http://127.0.0.1:${port}`,
    async stop() {
      // Each is a single process, and some wait for their streams to end.
      kill()
      await exit
      await rm(folder, { recursive: true, force: true })
    },
  }
}

const isListening = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
