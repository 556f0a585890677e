// `eventsource` is loaded on demand, and only where there is no native EventSource or headers are given.
const client = {
  path: 'dist/index.js',
  import: '{ createConnection }',
  gzip: true,
}

export default [
  { ...client, name: 'createConnection, own code', ignore: ['xstate', 'eventsource'], limit: '18.3 kB' },
  {
    ...client,
    name: 'createChatConnection, own code',
    path: 'dist/chat.js',
    import: '{ createChatConnection }',
    ignore: ['xstate', 'eventsource'],
    limit: '19.2 kB',
  },
  {
    ...client,
    name: 'createConnection with XState',
    limit: '30.8 kB',
    modifyEsbuildConfig(config) {
      // size-limit leaves peer dependencies out.
      config.external = ['eventsource']
      return config
    },
  },
]
