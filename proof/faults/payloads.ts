/** With `logPayloads: false` nothing that a sandbox sends or gets is kept: every file of the instance is searched for it, after requests and answers that passed, were blocked and were rewritten. */
import { randomBytes } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { putBlueprint } from '../harness/blueprint.ts';
import type { Checks } from '../harness/checks.ts';
import { Instance, until } from '../harness/instance.ts';

const networkFile = (port: number): string => `networkPolicy:
  name: payloads
  egress:
    allow:
      - { domain: service.example, ports: [${port}], methods: [GET, POST], addresses: [127.0.0.1] }
    escalate:
      - { domain: service.example, ports: [${port}], methods: [PUT], addresses: [127.0.0.1] }
  inspection:
    logPayloads: false
    actions: { email: log, credit-card: block }
    responses: { actions: { credit-card: block, email: redact, us-ssn: escalate } }
`;

/** Sends each request of \`asked.json\` and writes what came to \`got.json\`: nothing of it is on its output, which is kept. */
const agent = `import base64, json, urllib.request, urllib.error
got = []
for one in json.load(open('/workspace/asked.json')):
    body = base64.b64decode(one['body']) if one['body'] else None
    req = urllib.request.Request(one['url'], data=body, headers=one['headers'], method=one['method'])
    try:
        with urllib.request.urlopen(req, timeout=60) as res:
            got.append([res.status, base64.b64encode(res.read()).decode()])
    except urllib.error.HTTPError as e:
        got.append([e.code, base64.b64encode(e.read()).decode()])
json.dump(got, open('/workspace/got.json', 'w'))
`;

interface Asked {
  /** GET or POST where there is none. */
  readonly method?: string;
  readonly path: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly status: number;
}

export async function payloads(check: Checks): Promise<void> {
  check.section('what a run carried is in no file');
  const mark = (what: string): string => `${what}${randomBytes(9).toString('hex')}`;
  const [sent, query, header, answered, streamed, packed, person, control, held, delivered] = [mark('sent'), mark('query'), mark('header'), mark('answered'), mark('streamed'), mark('packed'), mark('person'), mark('control'), mark('held'), mark('delivered')];
  const [cardOut, cardIn] = ['4556737586899855', '4716108999716531'];
  const server = createServer((req, res) => {
    req.resume();
    req.on('end', () => {
      const json = { 'content-type': 'application/json' };
      if (req.url?.startsWith('/stream') === true) res.writeHead(200, { 'content-type': 'text/event-stream' }).end(`data: ${streamed}\n\n`);
      else if (req.url === '/packed') res.writeHead(200, { ...json, 'content-encoding': 'gzip' }).end(gzipSync(JSON.stringify({ packed })));
      else if (req.url === '/asked') res.writeHead(200, json).end(JSON.stringify({ ssn: '536-22-8145', delivered }));
      else if (req.url === '/blocked') res.writeHead(200, json).end(JSON.stringify({ card: cardIn, answered }));
      else res.writeHead(200, json).end(JSON.stringify({ answered, mail: `${person}@example.org` }));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const asked: readonly Asked[] = [
    { path: `/${control}?q=${query}`, body: JSON.stringify({ text: sent, mail: `${person}@example.org` }), headers: { 'content-type': 'application/json', 'x-note': header }, status: 200 },
    { path: '/form', body: `text=${sent}`, headers: { 'content-type': 'application/octet-stream' }, status: 200 },
    { path: '/refused', body: JSON.stringify({ card: cardOut, text: sent }), headers: { 'content-type': 'application/json' }, status: 403 },
    { path: '/stream', body: '', status: 200 },
    { path: '/packed', body: '', status: 200 },
    { path: '/blocked', body: '', status: 403 },
    { method: 'PUT', path: `/held?q=${held}`, body: JSON.stringify({ held }), headers: { 'content-type': 'application/json', 'x-note': held }, status: 200 },
    { path: '/asked', body: '', status: 200 },
  ];
  const instance = new Instance();
  try {
    instance.configure();
    putBlueprint(instance, 'payloads', { network: networkFile(port) });
    const workspace = join(instance.root, 'work');
    mkdirSync(workspace);
    writeFileSync(join(workspace, 'agent.py'), agent);
    writeFileSync(join(workspace, 'asked.json'), JSON.stringify(asked.map(({ method, path, body, headers }) => ({ method: method ?? (body === '' ? 'GET' : 'POST'), url: `http://service.example:${port}${path}`, body: Buffer.from(body).toString('base64'), headers: headers ?? {} }))));
    const made = await instance.cli(['onboard', '--yes', '--name', 'quiet', '--blueprint', 'payloads', '--workspace', workspace], { timeoutMs: 300_000 });
    if (made.code !== 0) throw new Error(`the sandbox does not start: ${made.out}${made.err}`);
    const running = instance.cli(['quiet', 'exec', '--', '/usr/bin/python3', '/workspace/agent.py'], { timeoutMs: 180_000 });
    const question = await until('the question', async () => (await instance.json<{ id: string; card: { detail: string } }[]>(['approvals', 'list'])).at(0));
    check.that('who is asked sees what the request carries', question.card.detail.includes(held), question);
    const kept = (): readonly string[] => filesBelow(instance.root, new Set([workspace, join(instance.root, 'opt')]));
    const holding = (text: string): readonly string[] => kept().filter((file) => contains(file, text));
    const questions = join(instance.state, 'gateway/store.db');
    const elsewhere = (): readonly string[] => [...holding(held), ...holding(delivered)].filter((file) => !file.startsWith(questions));
    check.that('while it waits it is in the store of questions, and nowhere else', holding(held).length > 0 && elsewhere().length === 0, holding(held));
    await instance.cli(['approvals', 'approve', question.id]);
    const shown = await instance.cli(['approvals', 'show', question.id, '--json']);
    check.that('after the decision nobody is shown what it carried', shown.code === 0 && shown.out.includes('not kept after the decision') && !shown.out.includes(held), shown.out);
    const second = await until('the question about the answer', async () => (await instance.json<{ id: string; card: { summary: string; detail: string } }[]>(['approvals', 'list'])).at(0));
    check.that('who is asked about an answer sees that, and what it is', second.card.summary.startsWith('Deliver the answer to GET ') && second.card.detail.includes(delivered) && !second.card.detail.includes('8145'), second);
    await instance.cli(['approvals', 'approve', second.id]);
    const ran = await running;
    const got = existsSync(join(workspace, 'got.json')) ? (JSON.parse(readFileSync(join(workspace, 'got.json'), 'utf8')) as [number, string][]) : [];
    check.that('requests and answers passed, were blocked and were rewritten', asked.every(({ status }, i) => got[i]?.[0] === status), [got.map(([status]) => status), ran.out, ran.err]);
    const texts = got.map(([, body]) => Buffer.from(body, 'base64')).map((bytes) => (bytes[0] === 0x1f ? gunzipSync(bytes) : bytes).toString());
    check.that('what passed arrived', texts[0]?.includes(answered) === true && texts[3]?.includes(streamed) === true && texts.some((text) => text.includes(packed)) && texts.at(-1)?.includes(delivered) === true, texts);
    check.that('what was redacted or blocked did not', !texts.join('').includes(person) && !texts.join('').includes(cardIn), texts);
    await until('the last request on record', () => (holding('/blocked').length > 0 ? true : undefined)).catch(() => undefined);
    check.that('the search finds what is kept: the path of a request', holding(control).length > 0, kept());
    for (const [what, text] of Object.entries({ 'a body that was sent': sent, 'a query': query, 'a header': header, 'an answer': answered, 'a stream': streamed, 'an encoded answer': packed, 'an address': person, 'a card that was sent': cardOut, 'a card that came': cardIn })) {
      const found = holding(text);
      check.that(`no file holds ${what}`, found.length === 0, found);
    }
    check.that('what a person was asked about is in no file but what the store of questions has not yet written over', elsewhere().length === 0, elsewhere());
    check.that('the record says that it was asked', holding('/held').some((file) => !file.startsWith(questions)), kept());
    await instance.cli(['down'], { timeoutMs: 120_000 });
    check.that('nor after everything has stopped', [sent, query, header, answered, streamed, packed, person, cardOut, cardIn, held, delivered].every((text) => holding(text).length === 0), kept());
  } finally {
    await instance.destroy();
    await new Promise<void>((done) => {
      server.close(() => done());
      server.closeAllConnections();
    });
  }
}

/** All plain files below a folder, without those in `except`. What goes away meanwhile is no file. */
function filesBelow(folder: string, except: ReadonlySet<string>): string[] {
  if (except.has(folder)) return [];
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    const path = join(folder, name);
    try {
      const about = lstatSync(path);
      return about.isDirectory() ? filesBelow(path, except) : about.isFile() ? [path] : [];
    } catch {
      return [];
    }
  });
}

/** Plain, in hexadecimal, or in base64 at any alignment. */
function contains(file: string, text: string): boolean {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch {
    return false;
  }
  const raw = Buffer.from(text);
  const base64 = [0, 1, 2].map((shift) => Buffer.concat([Buffer.alloc(shift), raw]).toString('base64').slice(shift === 0 ? 0 : 4, -4));
  return [text, raw.toString('hex'), ...base64].some((form) => bytes.includes(form));
}
