// `eventsource`, and what it is wrapped in, is loaded on demand, and only where there is no native EventSource or headers are given.
const onDemand = ['eventsource', './packageEventSource-*']
const client = {
  path: 'dist/index.js',
  import: '{ createConnection }',
  gzip: true,
}

export default [
  { ...client, name: 'createConnection, own code', ignore: ['xstate', ...onDemand], limit: '26.9 kB' },
  {
    ...client,
    name: 'createChatConnection, own code',
    path: 'dist/compat.js',
    import: '{ createChatConnection }',
    ignore: ['xstate', ...onDemand],
    limit: '28.1 kB',
  },
  {
    ...client,
    name: 'persist',
    path: 'dist/storage.js',
    import: '{ persist }',
    ignore: ['xstate', ...onDemand],
    limit: '5.4 kB',
  },
  {
    ...client,
    name: 'defineProtocol',
    path: 'dist/protocol.js',
    import: '{ defineProtocol }',
    limit: '2.6 kB',
  },
  {
    ...client,
    name: 'createChatTransport, followChat',
    path: 'dist/ai-sdk.js',
    import: '{ createChatTransport, followChat }',
    limit: '5 kB',
  },
  {
    ...client,
    name: 'HoldlineAgent, followAgent',
    path: 'dist/ag-ui.js',
    import: '{ HoldlineAgent, followAgent }',
    ignore: ['@ag-ui/client'],
    limit: '5.9 kB',
  },
  // `useHoldline` needs nothing beside the core either.
  {
    ...client,
    name: 'createConnection and holdline/react',
    import: { 'dist/index.js': '{ createConnection }', 'dist/react.js': '*' },
    ignore: ['xstate', 'react', ...onDemand],
    limit: '31.7 kB',
  },
  {
    ...client,
    name: 'createConnection and holdline/vue',
    import: { 'dist/index.js': '{ createConnection }', 'dist/vue.js': '*' },
    ignore: ['xstate', 'vue', ...onDemand],
    limit: '31.7 kB',
  },
  {
    ...client,
    name: 'createConnection and holdline/tabs',
    import: { 'dist/index.js': '{ createConnection }', 'dist/tabs.js': '*' },
    ignore: ['xstate', ...onDemand],
    limit: '36.1 kB',
  },
  {
    ...client,
    name: 'createConnection with XState',
    limit: '39.1 kB',
    modifyEsbuildConfig(config) {
      // size-limit leaves peer dependencies out.
      config.external = onDemand
      return config
    },
  },
]
