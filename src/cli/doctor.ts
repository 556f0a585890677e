import { Command } from 'commander'
import { CliError } from './cliError'
import { hostsOf } from './doctor/hosts'
import { judge } from './doctor/judge'
import { observe, type Plan } from './doctor/observe'
import { countsOf, toLine, toSummary } from './doctor/report'
import { type HeaderLines, toHeaders, toNumber, withCookie } from './flags'
import { type CliIo, processIo } from './io'

interface Flags {
  readonly origin?: string
  readonly idle: number
  readonly header?: HeaderLines
  readonly cookie?: string
  readonly timeout: number
  readonly json?: true
}

/** `fetch` of Node ends a body that is quiet for 300 s, s. */
const LONGEST_IDLE = 290

const HELP = `
It opens the stream as a page would, and posts probes at known times: each is answered over the
stream, so a frame that is late, or comes together with others, was held back on its way. One line
is one finding:

  ok         as it should be
  advice     it works, and could be better
  PROBLEM    a client suffers from it: what was seen, what was expected, the fix
  not tried  something is missing for it

The fix is that of the host or proxy that shows itself: nginx, Apache, HAProxy, Caddy, Vite, Next,
Express. Of several on the way, the nearest to you is named first. Run it once more against the
server itself to see which one it is. docs/doctor.md says more.

Exit code: 0 no problem, 1 a problem, 2 called wrongly.

Examples:
  $ npx holdline doctor http://127.0.0.1:3000/api/chat
  $ npx holdline doctor https://chat.example/api/chat --cookie 'sid=…' --idle 120
  $ npx holdline doctor https://api.example/chat --origin https://app.example \\
      --header 'Authorization: Bearer …'
`

/** `holdline doctor <url>`: why does it not stream here? */
export function doctorCommand(io: CliIo = processIo()): Command {
  return new Command('doctor')
    .description('say why it does not stream here: proxies, compression, time-outs, CORS, cookies')
    .argument('<url>', 'the base URL: the stream is <url>/events, an endpoint is <url>/<endpoint>')
    .option('--origin <origin>', 'the origin of the page that calls it (default: that of the URL)')
    .option('--idle <seconds>', 'leave the stream alone for so long, to see whether it is cut', toNumber, 0)
    .option('--header <line>', "a header of each request, 'Name: value'; may be repeated", toHeaders)
    .option('--cookie <text>', 'the Cookie of each request')
    .option('--timeout <ms>', 'how long an answer is waited for', toNumber, 10_000)
    .option('--json', 'the findings as JSON')
    .addHelpText('after', HELP)
    .action((url: string, flags: Flags) => examine(io, url, flags))
}

async function examine(io: CliIo, url: string, flags: Flags): Promise<void> {
  const observation = await observe(planOf(url, flags))
  const findings = judge(observation)
  if (flags.json) {
    const result = { url, hosts: hostsOf(observation), ...countsOf(findings), findings }
    io.out(`${JSON.stringify(result, null, 2)}\n`)
  } else io.out(`${findings.map(toLine).join('\n')}\n\n${toSummary(findings)}\n`)
  io.exitCode(countsOf(findings).problems > 0 ? 1 : 0)
}

/** @throws CliError */
function planOf(text: string, { origin, idle, header, cookie, timeout }: Flags): Plan {
  if (!/^https?:\/\/[^/?#]+[^?#]*$/i.test(text) || !URL.canParse(text))
    throw new CliError(`"${text}" is no base URL: give one such as http://127.0.0.1:3000/api/chat.`, 2)
  if (!(idle >= 0 && idle <= LONGEST_IDLE))
    throw new CliError(`--idle is ${idle}: give seconds, from 0 to ${LONGEST_IDLE}.`, 2)
  if (!(timeout > 0 && timeout <= 600_000))
    throw new CliError(`--timeout is ${timeout}: give milliseconds, from 1 to 600000.`, 2)
  const url = new URL(text)
  const headers = withCookie(header, cookie) ?? {}
  const names = Object.keys(headers).map((name) => name.toLowerCase())
  const headerNames = names.filter((name) => name !== 'cookie')
  const target = { url, page: pageOf(origin, url), headerNames, hasCookie: names.includes('cookie'), timeout }
  return { target, headers, idle: idle * 1_000 }
}

function pageOf(origin: string | undefined, url: URL): string {
  if (origin === undefined) return url.origin
  if (/^https?:\/\/[^/?#\s]+\/?$/i.test(origin) && URL.canParse(origin)) return new URL(origin).origin
  throw new CliError(`--origin is "${origin}": give the origin of a page, such as https://app.example.`, 2)
}
