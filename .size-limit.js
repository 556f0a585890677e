// `eventsource`, and what it is wrapped in, is loaded on demand, and only where there is no native EventSource or headers are given.
const onDemand = ['eventsource', './packageEventSource-*']
const client = {
  path: 'dist/index.js',
  import: '{ createConnection }',
  gzip: true,
}

export default [
  { ...client, name: 'createConnection, own code', ignore: ['xstate', ...onDemand], limit: '26.7 kB' },
  {
    ...client,
    name: 'createChatConnection, own code',
    path: 'dist/compat.js',
    import: '{ createChatConnection }',
    ignore: ['xstate', ...onDemand],
    limit: '27.9 kB',
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
    name: 'createChatTransport, followChat',
    path: 'dist/ai-sdk.js',
    import: '{ createChatTransport, followChat }',
    limit: '3.9 kB',
  },
  {
    ...client,
    name: 'HoldlineAgent, followAgent',
    path: 'dist/ag-ui.js',
    import: '{ HoldlineAgent, followAgent }',
    ignore: ['@ag-ui/client'],
    limit: '4.8 kB',
  },
  // Beside the core; `useHoldline` is the core, and a page has it anyway.
  {
    ...client,
    name: 'holdline/react',
    path: 'dist/react.js',
    import:
      '{ HoldlineProvider, useConnection, useConnectionStatus, useDelivery, usePending, useRetryCountdown, useSend, useSession, useSessionSuspense }',
    ignore: ['react'],
    limit: '1.8 kB',
  },
  {
    ...client,
    name: 'holdline/vue',
    path: 'dist/vue.js',
    import:
      '{ provideHoldline, useConnection, useConnectionStatus, useDelivery, usePending, useRetryCountdown, useSend, useSession }',
    ignore: ['vue'],
    limit: '1.8 kB',
  },
  {
    ...client,
    name: 'createConnection with XState',
    limit: '38.9 kB',
    modifyEsbuildConfig(config) {
      // size-limit leaves peer dependencies out.
      config.external = onDemand
      return config
    },
  },
]
