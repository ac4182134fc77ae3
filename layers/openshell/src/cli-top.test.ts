/** `openshell top` against a socket that answers: two looks, what is said where nothing listens. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { SandboxRate } from '@nemoclaw/contract';

const folder = mkdtempSync(join(tmpdir(), 'openshell-top-'));
const socket = join(folder, 'gateway.sock');
let looks = 0;
const server = createServer((_, response) => {
  looks += 1;
  response.end(JSON.stringify([{ sandbox: 'a', at: looks * 1000, report: { counts: { openat: [looks * 50, 0, 0, 0, 0, 0, 0] }, ended: 0, withheld: 0, ringFull: 0 }, why: '', waiting: 0 }]));
});
const top = (...args: string[]): Promise<{ code: number | null; out: string; err: string }> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, ['-e', `import(${JSON.stringify(fileURLToPath(new URL('cli.ts', import.meta.url)))}).then(async (cli) => { process.exitCode = await cli.main(process.argv.slice(1)); })`, '--', 'top', ...args]);
    let [out, err] = ['', ''];
    child.stdout.on('data', (data) => (out += String(data)));
    child.stderr.on('data', (data) => (err += String(data)));
    child.on('close', (code) => resolve({ code, out, err }));
  });

before(() => new Promise<void>((resolve) => server.listen(socket, resolve)));
after(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

test('prints a line for each look as JSON, and a table for people', async () => {
  const { code, out, err } = await top('--socket', socket, '--every', '0.1', '--times', '2', '--json');
  assert.equal(code, 0, err);
  const rates = out.trim().split('\n').map((line) => (JSON.parse(line) as { sandboxes: SandboxRate[] }).sandboxes);
  assert.deepEqual(rates.map((one) => one[0]?.total.done), [50, 50]);
  const table = await top('--socket', socket, '--every', '0.1');
  assert.match(table.out, /^SANDBOX +CALLS\/S +DONE/);
  assert.match(table.out, /\n +openat +50\.0/);
});

test('says where nothing listens, and what it does not understand', async () => {
  const nobody = await top('--socket', join(folder, 'nobody.sock'));
  assert.notEqual(nobody.code, 0);
  assert.match(nobody.err, /NEMO_E_NO_DAEMON/);
  assert.equal((await top('--socket', socket, '--every', 'x')).code, 2);
});
