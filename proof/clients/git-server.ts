/** git's own server of the smart protocol (git-http-backend, a CGI program) behind a request. */
import { spawn } from 'node:child_process';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';

/** `/git/NAME…` from `root`/NAME. Anybody may push where the repository says `http.receivepack`. */
export function serveGit(req: Http2ServerRequest, res: Http2ServerResponse, root: string): void {
  const [path = '', query = ''] = (req.url ?? '').slice('/git'.length).split('?');
  const header = (name: string): string => String(req.headers[name] ?? '');
  const cgi = spawn('/usr/lib/git-core/git-http-backend', [], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      GIT_PROJECT_ROOT: root, GIT_HTTP_EXPORT_ALL: '1', GIT_CONFIG_GLOBAL: '/dev/null', PATH: '/usr/bin:/bin', PATH_INFO: path, QUERY_STRING: query, REQUEST_METHOD: req.method ?? 'GET', REMOTE_ADDR: '127.0.0.1',
      CONTENT_TYPE: header('content-type'), HTTP_CONTENT_ENCODING: header('content-encoding'), GIT_PROTOCOL: header('git-protocol'), ...(header('content-length') === '' ? {} : { CONTENT_LENGTH: header('content-length') }),
    },
  });
  // It may end before it has read everything.
  cgi.stdin.on('error', () => undefined);
  req.pipe(cgi.stdin);
  const parts: Buffer[] = [];
  cgi.stdout.on('data', (part: Buffer) => parts.push(part));
  cgi.once('error', () => res.writeHead(500).end());
  cgi.once('close', () => {
    const out = Buffer.concat(parts);
    const end = out.indexOf('\r\n\r\n');
    const fields = new Map(out.toString('latin1', 0, Math.max(0, end)).split('\r\n').map((line): [string, string] => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
    res.writeHead(Number.parseInt(fields.get('status') ?? '200', 10), { 'content-type': fields.get('content-type') ?? 'text/plain' });
    res.end(out.subarray(end + 4));
  });
}
