import { HOSTS, type Host } from './hosts'

type Fault = 'buffering' | 'delay' | 'compression' | 'idle' | 'origin' | 'route' | 'gateway' | 'version'
type Fixes = { readonly any: string } & { readonly [Name in Host]?: string }

const FIXES: Readonly<Record<Fault, Fixes>> = {
  buffering: {
    any: 'turn buffering off for the stream in each proxy on the way, and let `X-Accel-Buffering: no` and `Cache-Control: no-transform` reach them; run this command against the server itself to see which one it is',
    nginx:
      '`proxy_buffering off;` and `gzip off;` in the `location` of the chat, or `X-Accel-Buffering: no` from the server, and no `proxy_ignore_headers` for it',
    Apache:
      'no filter on the stream that holds its output (mod_sed, mod_ext_filter), and `flushpackets=on` in a `ProxyPass` to FastCGI, uwsgi or AJP',
    HAProxy: '`option http-no-delay`, and no `compression` and no Lua filter on the stream',
    Caddy: '`flush_interval -1` in `reverse_proxy`, and no `encode` for the stream',
    Vite: 'no `selfHandleResponse` and no compressing plugin for the path in `server.proxy`',
    Next: '`compress: false` in `next.config`, or a route handler that returns the stream in the place of a rewrite',
    Express: 'mount the chat before `compression()`, or give that a `filter` which leaves `text/event-stream` out',
  },
  delay: {
    any: 'set `TCP_NODELAY` in what writes the stream, and no flush interval in a proxy: small packets wait for more to come',
    nginx: '`tcp_nodelay on;`, which is the default',
    HAProxy: '`option http-no-delay` in `defaults`, or in the frontend and the backend',
    Caddy: '`flush_interval -1` in `reverse_proxy`',
  },
  compression: {
    any: 'do not compress `text/event-stream`; a server says so with `Cache-Control: no-transform`',
    nginx: '`gzip off;` in the `location` of the chat, or no `text/event-stream` in `gzip_types`',
    Apache: '`SetEnvIf Request_URI "/events$" no-gzip`, or no `text/event-stream` in `AddOutputFilterByType DEFLATE`',
    HAProxy: 'no `text/event-stream` in `compression type`',
    Caddy: 'a matcher for `encode` that leaves the stream out, such as `@rest not path */events`',
    Next: '`compress: false` in `next.config`',
    Express: 'mount the chat before `compression()`, or give that a `filter` which leaves `text/event-stream` out',
  },
  idle: {
    any: 'announce a `heartbeat` well below the limit, or raise the limit',
    nginx: '`proxy_read_timeout 1h;`, or a `heartbeat` well below it',
    Apache: '`ProxyTimeout 3600` (or `timeout=3600` in `ProxyPass`), or a `heartbeat` well below it',
    HAProxy: 'a higher `timeout client` and `timeout server`, or a `heartbeat` well below them',
    Caddy: 'no `read_timeout` in the `transport`, or a `heartbeat` well below it',
    Vite: 'no `proxyTimeout` in `server.proxy`, or a `heartbeat` well below it',
  },
  origin: {
    any: "list the page's origin in `allowedOrigins`; if it is the server's own, let the proxy pass on `Host`",
    nginx: '`proxy_set_header Host $http_host;`, or `allowedOrigins`',
    Apache: '`ProxyPreserveHost On`, or `allowedOrigins`',
    HAProxy: 'no rule that sets `Host`, or `allowedOrigins`',
    Caddy: 'no `header_up Host`, or `allowedOrigins`',
    Vite: '`changeOrigin: false` in `server.proxy`, or `allowedOrigins`',
  },
  route: {
    any: 'mount the server half below that path, before what answers all else',
    nginx: 'a `location` for the chat with `proxy_pass`, before `try_files`',
    Apache: '`ProxyPass` for the path of the chat, before `FallbackResource`',
    HAProxy: 'a `use_backend` for the path of the chat',
    Caddy: '`reverse_proxy` for the path of the chat, before `file_server`',
    Vite: "`server: { proxy: { '/api': 'http://localhost:3000' } }` in the configuration",
    Next: 'a route handler for GET and POST, `app/api/chat/[endpoint]/route.ts`',
    Express: "`app.use('/api/chat', toNodeListener(chat))` before `express.static` and the page for all other paths",
  },
  gateway: {
    any: 'start the server, or point the proxy at its address',
    nginx: 'start the server, or point `proxy_pass` at its address',
    Apache: 'start the server, or point `ProxyPass` at its address',
    HAProxy: 'start the server, or correct the `server` line of the backend',
    Caddy: 'start the server, or correct the address in `reverse_proxy`',
    Vite: 'start the server, or correct the `target` in `server.proxy`',
  },
  version: {
    any: 'HTTP/2 (browsers want TLS for it), or one stream for all tabs: `holdline/tabs`',
    nginx: '`listen 443 ssl http2;`, or one stream for all tabs: `holdline/tabs`',
    Apache: 'mod_http2 with `Protocols h2 http/1.1` and TLS, or one stream for all tabs: `holdline/tabs`',
    HAProxy: '`bind :443 ssl crt … alpn h2,http/1.1`, or one stream for all tabs: `holdline/tabs`',
    Caddy: 'a site address without `http://`, which has TLS and HTTP/2, or one stream for all tabs: `holdline/tabs`',
  },
}

/** The fix of each host that shows itself, else the one that holds everywhere. */
export function fixOf(fault: Fault, hosts: readonly Host[]): string {
  const fixes = FIXES[fault]
  const known = HOSTS.flatMap((host) => (hosts.includes(host) && fixes[host] ? [`${host}: ${fixes[host]}`] : []))
  return known.join('; ') || fixes.any
}
