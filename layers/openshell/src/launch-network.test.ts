import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { before, test } from 'node:test';
import { loadSandboxPolicy } from '@nemoclaw/contract';
import { readHostFacts } from './host-facts.ts';
import { buildNative } from './native-build.ts';
import { planFor } from './plan-for.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
const program = fileURLToPath(new URL('../native/build/test-capture', import.meta.url));

before(() => buildNative('test-capture'));

/** Runs JavaScript in a sandbox whose two sockets are answered by test-capture: what either side printed, and the exit code. */
async function inside(network: 'none' | 'restricted', script: string, as?: { readonly uid: number; readonly gid: number }): Promise<{ lines: string[]; code: number; stderr: string }> {
  const text = `apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: t }\nspec: { isolation: { network: ${network}, syscalls: standard } }\n`;
  const host = { ...readHostFacts({ nodeBinary: process.execPath }), limits: { memory: false, cpu: false } }; // test-capture makes no control groups
  const plan = planFor(loadSandboxPolicy(text, 't.yaml'), host, { hasWorkspace: false });
  const child = spawn(program, [host.nodeFolder ?? '/usr', 'node', '-e', script], { stdio: ['ignore', 'pipe', 'pipe', 'pipe'], ...as });
  (child.stdio[3] as NodeJS.WritableStream).end(JSON.stringify(plan));
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on('data', (part: Buffer) => out.push(part));
  child.stderr?.on('data', (part: Buffer) => err.push(part));
  const [code] = (await once(child, 'close')) as [number | null];
  return { lines: Buffer.concat(out).toString().trim().split('\n').filter((line) => line !== ''), code: code ?? -1, stderr: Buffer.concat(err).toString() };
}

const connect = (host: string, port: number): string => `net.connect(${port}, '${host}').on('data', (d) => console.log('agent', String(d).trim())).on('error', (e) => console.log('agent', '${host}', e.code))`;

test('every TCP connection reaches the listener with its first destination, loopback stays the agent’s own', root, async () => {
  const result = await inside('restricted', `const net = require('net');
    ${connect('198.51.100.7', 443)}; ${connect('10.0.0.1', 22)};
    const own = net.createServer((c) => c.end('own')).listen(8080, '0.0.0.0', () => { ${connect('127.0.0.1', 8080)}.on('close', () => own.close()); ${connect('203.0.113.9', 8080)}; });
    ${connect('127.0.0.1', 15001)}; ${connect('::1', 15001)}; ${connect('::1', 9)}; ${connect('2001:db8::1', 443)}; ${connect('::ffff:198.51.100.8', 443)}; ${connect('fd00::1', 53)}; ${connect('127.0.0.1', 53)}; ${connect('::1', 53)}`);
  assert.equal(result.code, 0, result.stderr);
  const lines = new Set(result.lines);
  for (const line of ['tcp 198.51.100.7:443', 'agent tcp 198.51.100.7:443', 'tcp 10.0.0.1:22', 'agent tcp 203.0.113.9:8080', 'agent own', 'agent 127.0.0.1 ECONNREFUSED', 'agent ::1 ECONNREFUSED', 'tcp 2001:db8::1:443', 'agent tcp 2001:db8::1:443', 'agent tcp 198.51.100.8:443', 'tcp fd00::1:53', 'tcp 127.0.0.1:53', 'tcp ::1:53']) assert.ok(lines.has(line), `${line} in ${result.lines.join(' | ')}`);
  assert.equal(result.lines.filter((line) => line === 'agent ::1 ECONNREFUSED').length, 2, 'neither our listener nor what does not listen');
});

test('the kernel keeps little of an answer that the agent does not read', root, async () => {
  // Answered one after the other: when the second one is, the first has been filled.
  const result = await inside('restricted', `const net = require('net'); const unread = net.connect(7777, '198.51.100.7', () => ${connect('198.51.100.7', 443)}.on('close', () => process.exit())); unread.pause()`);
  const taken = result.lines.find((line) => line.startsWith('taken '));
  assert.ok(taken !== undefined, `${result.lines.join(' | ')} ${result.stderr}`);
  const bytes = Number(taken.slice(6));
  assert.ok(bytes >= 64 << 10 && bytes < 1 << 20, taken);
});

test('DNS reaches our socket whoever is asked, and the answer comes from there; other datagrams are refused at once', root, async () => {
  const result = await inside('restricted', `const dgram = require('dgram');
    const ask = (host, port) => new Promise((done) => { const s = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4'); s.connect(port, host, () => { s.send('q-' + host); });
      s.on('message', (m, from) => { console.log('agent', String(m), from.address); s.close(done); }).on('error', (e) => { console.log('agent', host, port, e.code); s.close(done); }); });
    (async () => { await ask('127.0.0.1', 53); await ask('8.8.8.8', 53); await ask('8.8.8.8', 443); await ask('127.0.0.1', 54); await ask('127.0.0.53', 53); await ask('::1', 53); await ask('2001:4860:4860::8888', 53); await ask('2001:db8::1', 443); })()`);
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(result.lines.filter((line) => line.startsWith('agent')), ['agent q-127.0.0.1 127.0.0.1', 'agent q-8.8.8.8 8.8.8.8', 'agent 8.8.8.8 443 ECONNREFUSED', 'agent 127.0.0.1 54 ECONNREFUSED', 'agent q-127.0.0.53 127.0.0.53', 'agent q-::1 ::1', 'agent q-2001:4860:4860::8888 2001:4860:4860::8888', 'agent 2001:db8::1 443 ECONNREFUSED']);
  assert.deepEqual(result.lines.filter((line) => line.startsWith('udp')), ['udp q-127.0.0.1', 'udp q-8.8.8.8', 'udp q-127.0.0.53', 'udp q-::1', 'udp q-2001:4860:4860::8888']);
});

test('tens of questions at once all come through; of a flood only so many reach our socket, and later ones do again', root, async () => {
  // The bound is what the time allows, however long the machine takes.
  const result = await inside('restricted', `const dgram = require('dgram'); const s = dgram.createSocket('udp4'); let answers = 0, last = 0; const start = performance.now();
    const until = (met) => new Promise((done) => { const t = setInterval(() => { if (met()) { clearInterval(t); done(); } }, 20); });
    s.on('message', () => { answers += 1; last = performance.now(); });
    (async () => {
      for (let i = 0; i < 100; i += 1) s.send('q', 53, '198.18.0.1');
      await until(() => answers === 100); console.log('agent burst');
      for (let i = 0; i < 100; i += 1) { for (let j = 0; j < 50; j += 1) s.send('q', 53, '198.18.0.1'); await new Promise(setImmediate); }
      await until(() => performance.now() - last > 1000); console.log('agent flood', answers <= 1000 + (last - start) ? 'bounded' : answers + ' in ' + (last - start) + ' ms');
      const before = answers; await until(() => { if (answers === before) s.send('q', 53, '198.18.0.1'); return answers > before; }); console.log('agent again'); s.close();
    })()`);
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(result.lines.filter((line) => line.startsWith('agent')), ['agent burst', 'agent flood bounded', 'agent again']);
});

test('network none: no TCP at all, no way out', root, async () => {
  const result = await inside('none', `const net = require('net'); ${connect('198.51.100.7', 443)}; ${connect('127.0.0.1', 80)};
    net.createServer().on('error', (e) => console.log('agent listen', e.code)).listen(0, '127.0.0.1')`);
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(result.lines.sort(), ['agent 127.0.0.1 EACCES', 'agent 198.51.100.7 EACCES', 'agent listen EACCES']);
});

test('a sandbox of a plain user is captured in the same way', root, async () => {
  const result = await inside('restricted', `const net = require('net'), dgram = require('dgram'); ${connect('198.51.100.7', 443)}; ${connect('127.0.0.1', 15001)};
    const s = dgram.createSocket('udp4'); s.connect(53, '8.8.8.8', () => s.send('q')); s.on('message', (m, from) => { console.log('agent', String(m), from.address); s.close(); })`, { uid: 65533, gid: 65533 });
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(result.lines.sort(), ['agent 127.0.0.1 ECONNREFUSED', 'agent q 8.8.8.8', 'agent tcp 198.51.100.7:443', 'tcp 198.51.100.7:443', 'udp q']);
});
