import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import react from '@vitejs/plugin-react'
import { build, defineConfig, type Plugin } from 'vite'

const PORT = process.env.PORT ?? '3000'

export default defineConfig({
  plugins: [react(), serverHalf()],
  build: { outDir: 'dist/client' },
  // The browser sees one origin, in development as behind a proxy. `changeOrigin: false` keeps the
  // Host that it has called.
  server: { proxy: { '/api': { target: `http://127.0.0.1:${PORT}`, changeOrigin: false } } },
})

/** `npm run dev`: builds the server half after each change, and runs it. */
function serverHalf(): Plugin {
  let running: ChildProcess | undefined
  let watcher: { close(): Promise<void> } | undefined

  async function stop() {
    if (!running || running.exitCode !== null || running.signalCode !== null) return
    const exit = once(running, 'exit')
    running.kill()
    await exit
  }

  const restart: Plugin = {
    name: 'restart',
    async writeBundle() {
      // The port has to be free again.
      await stop()
      running = spawn(process.execPath, ['--enable-source-maps', 'dist/server/main.js'], {
        stdio: ['ignore', 'inherit', 'inherit'],
        env: { ...process.env, PORT, NODE_ENV: 'development' },
      })
    },
  }

  return {
    name: 'server-half',
    apply: (_, { command, isPreview }) => command === 'serve' && !isPreview && !process.env.VITEST,
    async configureServer() {
      const building = await build({
        configFile: false,
        mode: 'development',
        logLevel: 'warn',
        plugins: [restart],
        build: { ssr: 'server/main.ts', outDir: 'dist/server', sourcemap: true, watch: {} },
      })
      if ('close' in building) watcher = building
      process.once('exit', () => running?.kill())
    },
    /** Vite ends. */
    async closeBundle() {
      await watcher?.close()
      await stop()
    },
  }
}
