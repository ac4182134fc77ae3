/** The layers that are services (proxy, gate, ledger), attacked in a whole instance, and what its record says of the kernel's refusals. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Checks } from '../harness/checks.ts';
import { Instance, type Result } from '../harness/instance.ts';
import { kernelOnRecord } from './on-record.ts';
import { ownDoors, pastTheProxy } from './past-the-proxy.ts';
import { networkFile, prepare, sandboxFile } from './instance-blueprint.ts';

/** A server on loopback that keeps what it got. */
async function listening(answer: (method: string, body: string) => string): Promise<{ server: Server; port: number; got: string[] }> {
  const got: string[] = [];
  const server = createServer((req, res) => {
    let body = '';
    req.on('data', (data: Buffer) => (body += data.toString()));
    req.on('end', () => {
      got.push(`${req.method} ${req.url} ${body}`);
      res.writeHead(200, { 'content-type': 'application/json' }).end(answer(req.method ?? '', body));
    });
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  return { server, port: (server.address() as AddressInfo).port, got };
}

/** What a willing model says: it calls the tool that was offered. */
const wantsVault = JSON.stringify({
  id: 'c1', object: 'chat.completion', created: 1, model: 'willing', usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  choices: [{ index: 0, finish_reason: 'tool_calls', message: { role: 'assistant', content: null, tool_calls: [{ id: 'call_v', type: 'function', function: { name: 'vault_open', arguments: '{}' } }] } }],
});

/** An honest agent that does what it is told by the model: opening the vault leaves a file. */
const honestAgent = `import json, os, sys, urllib.request
body = {"model": "willing", "messages": [{"role": "user", "content": "open the vault"}], "tools": [{"type": "function", "function": {"name": "vault_open", "parameters": {"type": "object", "properties": {}}}}]}
ask = urllib.request.Request("http://inference.local/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]})
answer = json.load(urllib.request.urlopen(ask, timeout=60))
for call in answer["choices"][0]["message"].get("tool_calls") or []:
    print("told to", call["function"]["name"])
    if call["function"]["name"] == "vault_open": open("/workspace/opened", "w").write(sys.argv[1])
`;

class Attacked {
  readonly instance = new Instance();
  readonly check: Checks;
  readonly workspace: string;
  readonly port: number;
  readonly got: string[];
  readonly tries: string;

  constructor(check: Checks, tries: string, office: { port: number; got: string[] }) {
    this.check = check;
    this.tries = tries;
    this.workspace = join(this.instance.root, 'project');
    this.port = office.port;
    this.got = office.got;
  }

  async start(modelPort: number): Promise<void> {
    prepare(this.instance, this.port, modelPort);
    mkdirSync(join(this.workspace, 'fixed'), { recursive: true });
    writeFileSync(join(this.workspace, 'fixed/file'), 'as it was');
    for (const folder of ['keys', 'vault/deep']) {
      mkdirSync(join(this.workspace, folder), { recursive: true });
      writeFileSync(join(this.workspace, folder, 'secret'), 'for nobody inside');
    }
    copyFileSync(this.tries, join(this.workspace, 'tries'));
    chmodSync(join(this.workspace, 'tries'), 0o755);
    writeFileSync(join(this.workspace, 'agent.py'), honestAgent);
    const result = await this.instance.cli(['onboard', '--yes', '--name', 'attacked', '--blueprint', 'attacked', '--workspace', this.workspace], { timeoutMs: 120_000 });
    if (result.code !== 0) throw new Error(`the instance does not start: ${result.out}${result.err}`);
  }

  inside(...argv: string[]): Promise<Result> {
    return this.instance.cli(['attacked', 'exec', '--', ...argv], { timeoutMs: 180_000 });
  }

  async policy(name: string, text: string): Promise<void> {
    const file = join(this.instance.root, name);
    writeFileSync(file, text);
    const result = await this.instance.cli(['policy', 'set', 'attacked', file]);
    if (result.code !== 0) throw new Error(`${name} is not accepted: ${result.out}${result.err}`);
  }

  /** The proxy's own: a method that the policy does not allow, to a host that it does. True = it arrived. */
  async upload(): Promise<Result & { won: boolean }> {
    const token = randomBytes(8).toString('hex');
    const result = await this.inside('/usr/bin/curl', '-sS', '-m', '60', '-d', token, `http://office.example:${this.port}/upload`);
    return { ...result, won: this.got.some((line) => line.includes(token)) };
  }

  /** The gate's own: a tool call that touches nothing but the sandbox. */
  async vault(): Promise<Result & { won: boolean }> {
    const opened = join(this.workspace, 'opened');
    rmSync(opened, { force: true });
    const token = randomBytes(8).toString('hex');
    const result = await this.inside('/usr/bin/python3', '/workspace/agent.py', token);
    return { ...result, won: existsSync(opened) && readFileSync(opened, 'utf8') === token };
  }

  /** The view's, for comparison. */
  async outside(): Promise<Result & { won: boolean }> {
    const secret = join(this.instance.root, 'secret');
    writeFileSync(secret, 'for nobody inside', { mode: 0o644 });
    const result = await this.inside('/usr/bin/cat', secret);
    return { ...result, won: result.out.includes('for nobody inside') };
  }

  /** The network namespace's and the call filter's, for comparison. */
  async pastCapture(): Promise<Result & { won: boolean }> {
    const token = randomBytes(8).toString('hex');
    const result = await this.inside('/usr/bin/curl', '-sS', '-m', '5', `http://127.0.0.1:${this.port}/${token}`);
    return { ...result, won: this.got.some((line) => line.includes(token)) };
  }
  async asRoot(): Promise<Result & { won: boolean }> {
    const result = await this.inside('/workspace/tries', 'user_namespace');
    return { ...result, won: result.out.includes('user:') };
  }

  /** Which of them work now, against which should. */
  async works(state: string, expected: readonly ('proxy' | 'gate')[]): Promise<void> {
    const outcomes = { proxy: await this.upload(), gate: await this.vault(), view: await this.outside(), netns: await this.pastCapture(), seccomp: await this.asRoot() };
    const now = Object.entries(outcomes).filter(([, outcome]) => outcome.won).map(([layer]) => layer);
    const what = expected.length === 0 ? 'no attack of any layer' : `of the attacks on proxy, gate, view, netns and seccomp exactly the one on the ${expected.join()}`;
    this.check.that(`${state}: ${what} works`, now.join() === expected.join(), { now, said: Object.values(outcomes).map((outcome) => outcome.out + outcome.err) });
  }
}

/** Every line of every file of the record. */
function recordFiles(instance: Instance): string[] {
  const folder = join(instance.state, 'ledger');
  return readdirSync(folder).filter((name) => name.endsWith('.jsonl')).sort().map((name) => join(folder, name));
}

const edit = 'import sys\npath, old, new = sys.argv[1:]\ndata = open(path, "rb").read()\nat = data.rindex(old.encode())\nf = open(path, "r+b"); f.seek(at); f.write(new.encode()); f.close()\nprint("edited")';

async function ledger(attacked: Attacked): Promise<void> {
  const { check, instance } = attacked;
  check.section('the ledger: the record edited under its own uid, in place, while it runs');
  const whole = await instance.cli(['audit', 'verify']);
  check.that('before: the record is whole', whole.code === 0, whole.out + whole.err);
  const file = recordFiles(instance).findLast((path) => readFileSync(path, 'utf8').includes('/usr/sbin/nologin'));
  if (file === undefined) throw new Error('the refusal of nologin is not in the files of the record');
  const owner = statSync(file).uid;
  const change = (uid: number, from: string, to: string): string => spawnSync('/usr/bin/python3', ['-c', edit, file, from, to], { uid, gid: uid, encoding: 'utf8' }).stdout;
  const others = [...new Set([join(instance.state, 'gateway'), join(instance.state, 'ledger')].map((path) => statSync(path).uid))].filter((uid) => uid !== owner && uid !== 0);
  check.that('another service may not write it', others.length > 0 && others.every((uid) => change(uid, '/usr/sbin/nologin', '/usr/bin/nothing1') === ''), others);
  check.that('the owner of the files may: the attack is real', change(owner, '/usr/sbin/nologin', '/usr/bin/nothing1').includes('edited'));
  const read = readFileSync(file, 'utf8');
  check.that('without verification nobody would know: the file says something else, line by line JSON', read.includes('/usr/bin/nothing1') && read.trim().split('\n').every((line) => JSON.parse(line) !== null));
  const found = await instance.cli(['audit', 'verify']);
  check.that('`audit verify` finds it, with the place', found.code === 1 && /edited/.test(found.out + found.err), found.out + found.err);
  check.that('put back, the record is whole again', change(owner, '/usr/bin/nothing1', '/usr/sbin/nologin').includes('edited') && (await instance.cli(['audit', 'verify'])).code === 0);
  const signed = join(instance.state, 'checkpoints');
  const touch = spawnSync('/usr/bin/python3', ['-c', 'import os,sys; os.listdir(sys.argv[1])', signed], { uid: owner, gid: owner, encoding: 'utf8' });
  check.that("the signed heads are not for the ledger's own uid", touch.status !== 0, touch.stdout + touch.stderr);
}

/** `made`: told the instance, which this function destroys when it ends. */
export async function serviceLayers(check: Checks, tries: string, made: (instance: Instance) => void): Promise<void> {
  check.section('attacks on proxy and gate, in a whole instance');
  const office = await listening(() => '{}');
  const model = await listening(() => wantsVault);
  const attacked = new Attacked(check, tries, office);
  made(attacked.instance);
  try {
    await attacked.start(model.port);
    const control = await attacked.inside('/usr/bin/curl', '-sS', '-m', '60', `http://office.example:${office.port}/news`);
    check.that('control: what is allowed arrives', control.code === 0 && office.got.includes('GET /news '), control.out + control.err);
    await attacked.works('all layers on', []);
    await pastTheProxy(check, office.port, () => `${office.got.join()} ${model.got.join()}`, (...argv) => attacked.inside(...argv));
    await ownDoors(check, attacked.instance, (...argv) => attacked.inside(...argv));
    await kernelOnRecord(attacked.check, attacked.instance, office.port, (...argv) => attacked.inside(...argv));
    check.section('proxy and gate switched off, one at a time');
    await attacked.policy('network.yaml', networkFile(office.port, ['GET', 'POST']));
    await attacked.works('the proxy allows everything to that host', ['proxy']);
    await attacked.policy('network.yaml', networkFile(office.port, ['GET']));
    await attacked.policy('sandbox.yaml', sandboxFile(['vault.open']));
    await attacked.works('the gate allows every tool', ['gate']);
    await attacked.policy('sandbox.yaml', sandboxFile([]));
    await attacked.works('all on again', []);
    check.that('the model was asked, and always wanted the vault', model.got.length >= 4, model.got.length);
    await check.step('the ledger', () => ledger(attacked));
  } finally {
    await attacked.instance.destroy();
    office.server.close();
    model.server.close();
  }
}
