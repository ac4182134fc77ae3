/** A policy that changes under a running command, on the real kernel: what is decided otherwise ends, the rest goes on, and nothing but a whole policy takes its place. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { openUpstream } from '../testing/testing-egress.ts';
import type { Upstream } from '../testing/testing-egress.ts';
import { couldChange } from './follow.ts';
import { buildNative } from './native-build.ts';
import { startAlone } from './testing-command.ts';
import type { Running } from './testing-command.ts';

describe('a policy that changes while it is in force', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'follow-test-'));
  const file = join(folder, 'policy.yaml');
  const go = join(folder, 'go');
  const running = new Set<Running>();
  const streams = new Map<string, ServerResponse>();
  let arrived: () => void = () => undefined;
  let web: Upstream;
  let safe: Upstream;
  const curl = 'curl -sS -m 100';

  before(async () => {
    buildNative();
    chmodSync(folder, 0o755);
    web = await openUpstream((req, res) => {
      if (!req.url?.startsWith('/stream')) return void res.end('hello\n');
      res.write('begun\n');
      streams.set(req.url, res);
      arrived();
    });
    safe = await openUpstream((_req, res) => {
      streams.get('/stream/kept')?.end('kept\n');
      res.end('safe\n');
    }, 'safe.example');
    writeFileSync(join(folder, 'anchor.pem'), safe.caPem ?? '');
  });
  afterEach(async () => {
    for (const one of running) {
      one.child.kill('SIGTERM');
      await one.ended;
    }
    running.clear();
    rmSync(go, { force: true });
    rmSync(file, { force: true, recursive: true });
  });
  after(async () => {
    for (const stream of streams.values()) stream.destroy();
    await Promise.all([web, safe].map((one) => one.close()));
    rmSync(folder, { recursive: true, force: true });
  });

  const allowing = (...names: string[]): string => `networkPolicy:\n  name: follow\n  egress:\n    allow:\n${names.map((name) => `      - { domain: ${name}, ports: [${name === 'safe.example' ? `${safe.port}], ca: anchor.pem` : `${web.port}]`}, methods: [GET], addresses: [127.0.0.1] }\n`).join('')}`;
  /** As editors and tools do it. */
  function replace(text: string): void {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }
  function start(script: string, ...options: string[]): Running {
    const one = startAlone(['run', '--policy', file, ...options, '--', '/bin/sh', '-c', script], { cwd: folder });
    running.add(one);
    return one;
  }
  const waiting = `echo up; while [ ! -e ${go} ]; do sleep 0.1; done`;
  const times = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0;

  it('ends what is decided otherwise now, leaves the rest alone, and is trusted for names that are new', async () => {
    const both = new Promise<void>((resolve) => { arrived = () => void (streams.size === 2 && resolve()); });
    replace(allowing('gone.example', 'kept.example'));
    const one = start(`${curl} http://kept.example:${web.port}/stream/kept & k=$!; ${curl} http://gone.example:${web.port}/stream/gone; echo gone $?; ${curl} https://safe.example:${safe.port}/; wait $k; ${curl} http://gone.example:${web.port}/again`, '--follow', '--record', join(folder, 'events'));
    await both;
    replace(allowing('kept.example', 'safe.example'));
    const { out, err } = await one.ended;
    assert.deepEqual(out.replace('gone 56', 'gone 18').trim().split('\n').sort(), ['begun', 'begun', 'gone 18', 'kept', 'safe'], err);
    assert.match(err, /the policy was read anew, and is version 2\n/);
    assert.match(err, /denied: .*gone\.example/);
  });

  it('only a whole policy takes the place of one, and what is wrong is said once, at its place', async () => {
    replace(allowing('here.example'));
    const one = start(`${waiting}; ${curl} http://here.example:${web.port}/; ${curl} http://late.example:${web.port}/`, '--follow');
    await one.until(/up\n/);
    replace(allowing('late.example').replace('methods', 'method'));
    await one.until(/policy\.yaml:5:\d+[^]*version 1, stays in force/);
    replace(allowing('late.example').slice(0, -20));
    await one.until(/code: NEMO_E_POLICY_YAML[^]*stays in force/);
    rmSync(file);
    await one.until(/policy\.yaml cannot be read/);
    execFileSync('mkfifo', [file]);
    await one.until(/This is no file/);
    execFileSync('truncate', ['-s', '8G', `${file}.new`]);
    renameSync(`${file}.new`, file);
    await one.until(/larger than \d+ bytes/);
    // By a link that is turned, as some tools do it.
    mkdirSync(join(folder, 'next'));
    writeFileSync(join(folder, 'next', 'policy.yaml'), allowing('late.example'));
    symlinkSync('next/policy.yaml', `${file}.new`);
    renameSync(`${file}.new`, file);
    await one.until(/is version 2\n/);
    writeFileSync(go, '');
    const { out, err } = await one.ended;
    assert.equal(out, 'up\nhello\n', err);
    assert.match(err, /Could not resolve host: here\.example/);
    assert.equal(times(err, /stays in force/g), 5, err);
  });

  it('a command that could write to it changes nothing, unless that was asked for', async () => {
    replace(allowing('here.example'));
    const one = start(`${waiting}; ${curl} http://here.example:${web.port}/; ${curl} http://late.example:${web.port}/`);
    await one.until(/up\n/);
    replace(allowing('late.example'));
    await one.until(/changed, and is not read anew[^]*stays in force/);
    writeFileSync(go, '');
    const { out, err } = await one.ended;
    assert.equal(out, 'up\nhello\n', err);
    assert.match(err, /Could not resolve host: late\.example/);
    rmSync(go);
    const other = start(waiting, '--user', 'nobody', '--json');
    await other.until(/up\n/);
    replace(allowing('here.example'));
    await other.until(/\{"policy":\{"version":2\}\}/);
    writeFileSync(go, '');
    await other.ended;
  });

  it('who could write to it: owners, root, whoever shares it or a folder above it, and whoever comes by a link', () => {
    const inner = join(folder, 'inner');
    mkdirSync(inner, { mode: 0o755 });
    const policy = join(inner, 'policy.yaml');
    writeFileSync(policy, '', { mode: 0o644 });
    assert.deepEqual([couldChange(policy, 0), couldChange(policy, 65_533)], [true, false]);
    for (const [path, mode, back] of [[policy, 0o664, 0o644], [policy, 0o646, 0o644], [inner, 0o777, 0o755], [inner, 0o1777, 0o755]] as const) {
      chmodSync(path, mode);
      assert.equal(couldChange(policy, 65_533), mode !== 0o1777, `${path} ${mode.toString(8)}`);
      chmodSync(path, back);
    }
    chownSync(inner, 65_533, 65_533);
    assert.equal(couldChange(policy, 65_533), true, 'the owner of the folder puts another in its place');
    chownSync(inner, 0, 0);
    symlinkSync(policy, join(folder, 'link'));
    assert.equal(couldChange(join(folder, 'link'), 65_533), true);
    assert.equal(couldChange(join(folder, 'no-such'), 65_533), true);
  });
});
