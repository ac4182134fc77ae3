/** Calls into a real sandbox, and credentials that stay outside it: who is admitted, what a program inside holds, and what the other side sees. */
import { createHmac } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { putBlueprint } from '../harness/blueprint.ts';
import type { Checks } from '../harness/checks.ts';
import { Instance, until } from '../harness/instance.ts';
import { freePort } from '../harness/listener.ts';

const networkFile = (port: number, ingress: string): string => `networkPolicy:
  name: called
  egress:
    allow:
      - { domain: service.example, ports: [${port}], methods: [GET, POST], addresses: [127.0.0.1] }
      - { domain: other.example, ports: [${port}], methods: [GET, POST], addresses: [127.0.0.1] }
    deny:
      - domain: "*"
  ingress:
    allow: [${ingress}]
`;
const unproven = '{ source: webhook.salesforce.com, path: /hooks/** }';
const proven = '{ source: webhook.salesforce.com, path: /hooks/**, port: 8080, auth: { hmac: { header: x-signature, secret: hook, prefix: "sha256=" } } }';
const key = 'the key of the caller';
const value = 'live-value-5f2a9c71';

/** The agent's own service: keeps what it is told in the workspace, and answers with all it knows. */
const service = `
import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        open('/workspace/heard', 'ab').write(self.path.encode() + b' ' + (self.headers.get('x-signature') or '-').encode() + b' ' + body + b'\\n')
        out = b'noted' if self.path != '/hooks/tell' else b'the key is ' + body
        self.send_response(200); self.send_header('content-length', str(len(out))); self.end_headers(); self.wfile.write(out)
    def log_message(self, *a): pass
http.server.HTTPServer(('127.0.0.1', 8080), H).serve_forever()`;

/** Status and body; status 0 if there is no answer. */
function call(port: number, path: string, body: string, headers: Readonly<Record<string, string>> = {}): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve) => {
    const req = request({ host: '127.0.0.1', port, path, method: 'POST', headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) }, agent: false, timeout: 10_000 }, (res) => {
      let text = '';
      res.on('data', (part: Buffer) => {
        text += part.toString();
      });
      res.on('end', () => resolve({ status: res.statusCode ?? 0, body: text }));
    });
    req.on('timeout', () => req.destroy());
    req.on('error', () => resolve({ status: 0, body: '' }));
    req.end(body);
  });
}

/** `made`: told the instance, which this function destroys when it ends. */
export async function waysIn(check: Checks, made: (instance: Instance) => void): Promise<void> {
  const instance = new Instance();
  made(instance);
  let serving: Promise<unknown> = Promise.resolve();
  const heard: { host: string; authorization: string; path: string; body: string }[] = [];
  const upstream = createServer((req, res) => {
    let body = '';
    req.on('data', (part: Buffer) => {
      body += part.toString();
    });
    req.on('end', () => {
      heard.push({ host: req.headers.host ?? '', authorization: req.headers.authorization ?? '', path: req.url ?? '', body });
      res.setHeader('x-echo', req.headers.authorization ?? '');
      res.end('fine');
    });
  });
  await new Promise<void>((done) => upstream.listen(0, '127.0.0.1', done));
  const servicePort = (upstream.address() as AddressInfo).port;
  const door = await freePort();
  try {
    instance.configure(`ingress: 127.0.0.1:${door}\n`);
    putBlueprint(instance, 'called', { network: networkFile(servicePort, unproven) });
    const workspace = join(instance.root, 'work');
    mkdirSync(workspace);
    const started = await instance.cli(['onboard', '--yes', '--name', 'called', '--blueprint', 'called', '--workspace', workspace], { timeoutMs: 240_000 });
    if (started.code !== 0) throw new Error(`the instance does not start: ${started.out}${started.err}`);
    const inside = (script: string) => instance.cli(['called', 'exec', '--', '/bin/sh', '-c', script], { timeoutMs: 180_000 });
    const text = async (): Promise<string> => (await inside('cat /workspace/heard 2>/dev/null')).out;
    const policy = async (ingress: string): Promise<void> => {
      const file = join(instance.root, 'network.yaml');
      writeFileSync(file, networkFile(servicePort, ingress));
      const put = await instance.cli(['called', 'policy', 'set', file]);
      if (put.code !== 0) throw new Error(`the policy is not taken: ${put.out}${put.err}`);
    };
    const signed = (body: string, by = key): Record<string, string> => ({ 'x-signature': `sha256=${createHmac('sha256', by).update(body).digest('hex')}` });

    check.section('calls into a sandbox');
    serving = inside(`python3 -c '${service.replaceAll("'", `'"'"'`)}'`);
    await until('the service inside', async () => ((await inside('python3 -c "import socket; socket.create_connection((\'127.0.0.1\', 8080), 1)" && echo up')).out.includes('up') ? true : undefined));
    const status = await instance.json<{ unenforced?: readonly string[] }>(['called', 'status']);
    check.that('a rule that only names its caller is reported as unproven', JSON.stringify(status).includes('unproven'), status);
    await until('the address', async () => ((await call(door, '/', '')).status > 0 ? true : undefined));
    check.that('and admits nobody', (await call(door, '/called/hooks/lead', 'one', signed('one'))).status === 404);
    await policy(proven);
    check.that('without the key at the gateway nobody is admitted', (await call(door, '/called/hooks/lead', 'two', signed('two'))).status === 404);
    const set = await instance.cli(['called', 'credentials', 'set', 'hook', '--kind', 'key'], { input: key });
    check.that('the key is set', set.code === 0, set.out + set.err);
    const admitted = await call(door, '/called/hooks/lead?x=1', 'three', signed('three'));
    check.that('a signed call arrives and is answered', admitted.status === 200 && admitted.body === 'noted', admitted);
    for (const [what, path, headers] of [
      ['without a signature', '/called/hooks/lead', {}], ['signed by another key', '/called/hooks/lead', signed('no', 'another key')], ['on another path', '/called/admin', signed('no')], ['by way of a dot segment', '/called/hooks/../admin', signed('no')],
      ['to another sandbox', '/another/hooks/lead', signed('no')],
    ] as const) {
      const answer = await call(door, path, 'no', headers);
      check.that(`${what}: refused`, answer.status === 404 || answer.status === 400, answer);
    }
    const told = await call(door, '/called/hooks/tell', value, signed(value));
    check.that('an answer goes back', told.body.includes(value), told);
    check.that('of all that, only what was signed arrived, without its signature', (await text()) === `/hooks/lead?x=1 - three\n/hooks/tell - ${value}\n`, await text());

    check.section('a credential that stays outside');
    const given = await instance.cli(['called', 'credentials', 'set', 'service', '--host', 'service.example', '--port', String(servicePort), '--env', 'SERVICE_TOKEN'], { input: value });
    check.that('it is set', given.code === 0 && !(given.out + given.err).includes(value), given.out + given.err);
    const held = await inside('printf %s "$SERVICE_TOKEN"');
    check.that('a program inside holds a placeholder', held.out.startsWith('nemoclaw-credential-service-'), held.out + held.err);
    const used = await inside(`curl -sS -i -H "authorization: Bearer $SERVICE_TOKEN" http://service.example:${servicePort}/v1`);
    check.that('where it is bound the value is put in', heard.at(-1)?.authorization === `Bearer ${value}`, heard);
    check.that('and does not come back', used.out.includes('fine') && !used.out.includes(value), used.out + used.err);
    const arrived = heard.length;
    for (const [what, script] of [
      ['at another host', `curl -sS -m 5 -H "authorization: Bearer $SERVICE_TOKEN" http://other.example:${servicePort}/`], ['in another header', `curl -sS -m 5 -H "x-key: $SERVICE_TOKEN" http://service.example:${servicePort}/`],
      ['in the URL', `curl -sS -m 5 "http://service.example:${servicePort}/?t=$SERVICE_TOKEN"`], ['in a body', `curl -sS -m 5 -d "t=$SERVICE_TOKEN" http://service.example:${servicePort}/`],
    ] as const) {
      const said = await inside(script);
      check.that(`${what} it is refused`, heard.length === arrived, { said: said.out + said.err, heard: heard.slice(arrived) });
    }
    const echoed = await call(door, '/called/hooks/tell', value, signed(value));
    check.that('an answer to a caller that has the secret in it goes out without its body', echoed.status === 200 && echoed.body === '', echoed);
    await instance.cli(['called', 'credentials', 'remove', 'service']);
    await inside(`curl -sS -m 5 -H "authorization: Bearer ${held.out}" http://service.example:${servicePort}/after`);
    check.that('removed, nothing is put in any more', !heard.slice(arrived).some(({ authorization }) => authorization.includes(value)), heard.slice(arrived));
    const events = JSON.stringify(await instance.json<readonly unknown[]>(['audit', 'search', '--sandbox', 'called', '--limit', '1000']));
    check.that('neither secret is on record', events.length > 1000 && !events.includes(value) && !events.includes(key));
    await policy('');
    check.that('without the rule nobody is admitted', (await call(door, '/called/hooks/lead', 'last', signed('last'))).status === 404);
  } finally {
    await instance.destroy();
    // Its command line ends with the instance, and Node writes what it compiled into the folder that was just removed.
    await serving;
    rmSync(instance.root, { recursive: true, force: true });
    upstream.closeAllConnections();
    upstream.close();
  }
}
