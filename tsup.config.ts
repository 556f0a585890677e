import { defineConfig } from 'tsup'
import { buildAppTemplate } from './tools/package/appTemplate'

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    machine: 'src/machine/index.ts',
    adapters: 'src/adapters/index.ts',
    'adapters/websocket': 'src/adapters/websocket/index.ts',
    storage: 'src/storage/index.ts',
    protocol: 'src/protocol/define/index.ts',
    server: 'src/server/index.ts',
    'server/node': 'src/server/node/index.ts',
    'server/redis': 'src/server/redis/index.ts',
    'server/runs': 'src/server/runs/index.ts',
    'server/transcripts': 'src/server/transcripts/index.ts',
    testing: 'src/testing/index.ts',
    inspect: 'src/inspect/index.ts',
    compat: 'src/compat/index.ts',
    sessions: 'src/sessions/index.ts',
    react: 'src/react/index.ts',
    vue: 'src/vue/index.ts',
    tabs: 'src/tabs/index.ts',
    'ai-sdk': 'src/ai-sdk/index.ts',
    'ai-sdk/server': 'src/ai-sdk/server/index.ts',
    'ag-ui': 'src/ag-ui/index.ts',
    'ag-ui/server': 'src/ag-ui/server/index.ts',
    cli: 'src/cli/main.ts',
  },
  format: 'esm',
  target: 'es2022',
  platform: 'neutral',
  external: [/^node:/, 'xstate', 'eventsource', 'ws', 'ioredis', '@ag-ui/client', 'react', 'vue'],
  dts: { compilerOptions: { ignoreDeprecations: '6.0' } },
  sourcemap: true,
  clean: true,
  // Part of the command: `holdline new` copies it.
  async onSuccess() {
    buildAppTemplate('examples/app', 'dist/app')
  },
})
