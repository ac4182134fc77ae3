/** Workspaces that sandboxes of openshelld give back: asked for, by a crash of the agent, of its shim, of openshelld, and when everything stops. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Released } from '@nemoclaw/contract';
import { assertLikeVector } from './control-vectors.ts';
import { TestInstance, type TestService } from './openshelld-test-instance.ts';
import { oneInstance } from './openshelld-test-layer.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
const spec = 'isolation: { network: none, filesystem: workspace, syscalls: standard }, filesystem: { deny: [/workspace/.env] }';

void describe('workspaces are checked when they are given back', root, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let count = 0;
  oneInstance((made, its) => {
    instance = made;
    gateway = its;
  });

  async function planted(script = 'echo evil > /workspace/.envrc'): Promise<{ readonly id: string; readonly path: string; readonly init: number }> {
    count += 1;
    const id = `r${count}`;
    const folder = await instance.workspace(`w${count}`);
    const made = (await gateway.call('create', id, instance.plan(spec), folder.id, '')) as { init: number };
    const run = await gateway.run(id, `${id}-plant`, ['/bin/sh', '-c', script]);
    assert.equal(run.code, 0, run.stderr);
    return { id, path: folder.path, init: made.init };
  }
  const manifests = (): string[] => readdirSync(join(instance.state, 'workspaces'));
  function checkPutAway(path: string, released: Released): void {
    assert.deepEqual(released.found, [{ path: '.envrc', why: 'new', moved: true }]);
    assert.equal(released.checked, true);
    assert.ok(!existsSync(join(path, '.envrc')));
    assert.ok(!existsSync(join(path, '.env')), 'the placeholder of the denied name');
    assert.equal(statSync(join(path, released.quarantine)).mode & 0o777, 0);
  }
  const shimOf = (init: number): number => {
    const shims = TestInstance.children(instance.daemonPid).filter((c) => c.name === 'openshell-shim');
    return shims.find((s) => TestInstance.children(s.pid).some((c) => c.pid === init))?.pid ?? -1;
  };

  it('on destroy, before the answer', async () => {
    const { id, path } = await planted();
    assert.deepEqual(manifests(), [`${id}.json`]);
    assert.equal(statSync(join(instance.state, 'workspaces')).mode & 0o777, 0o700);
    const released = (await gateway.call('destroy', id)) as Released;
    checkPutAway(path, released);
    assert.deepEqual(manifests(), []);
    const news = await gateway.saw('workspace.released', (m) => m.sandbox === id);
    assertLikeVector(news);
    const ledger = await instance.service('ledger');
    const event = await ledger.saw('event', (m) => m.event.sandbox === id && m.event.class === 'detectionFinding');
    assert.match(event.event.message, /left \.envrc \(new\)/);
  });

  it('when the agent ends by itself', async () => {
    const { id, path, init } = await planted();
    process.kill(init, 'SIGKILL');
    checkPutAway(path, (await gateway.saw('workspace.released', (m) => m.sandbox === id)).released);
    await gateway.saw('sandbox.gone', (m) => m.sandbox === id);
  });

  it('when its shim is killed', async () => {
    const { id, path, init } = await planted();
    process.kill(shimOf(init), 'SIGKILL');
    checkPutAway(path, (await gateway.saw('workspace.released', (m) => m.sandbox === id)).released);
  });

  it('after openshelld was killed, by its successor', async () => {
    const { id, path } = await planted();
    await instance.killDaemon();
    checkPutAway(path, (await gateway.call('destroy', id)) as Released);
  });

  it('when openshelld and the shim are killed together', async () => {
    const { id, path, init } = await planted();
    process.kill(shimOf(init), 'SIGKILL');
    await instance.killDaemon();
    // Where the first check was killed with openshelld, the second says so instead of naming what the first had put away.
    const { released } = await gateway.saw('workspace.released', (m) => m.sandbox === id);
    assert.match(released.quarantine + released.problem, /nemoclaw-quarantine/);
    assert.ok(!existsSync(join(path, '.envrc')));
  });

  it('a sandbox in a folder that waits for its check starts after it, and does not take what was left for its own', async () => {
    count += 1;
    const folder = await instance.workspace(`w${count}`);
    await gateway.call('create', 'first', instance.plan(spec), folder.id, '');
    await gateway.run('first', 'plant', ['/bin/sh', '-c', 'echo evil > /workspace/.envrc']);
    const [released] = await Promise.all([gateway.call('destroy', 'first'), gateway.call('create', 'second', instance.plan(spec), folder.id, '')]);
    assert.equal((released as Released).found.length, 1);
    const look = await gateway.run('second', 'look', ['/bin/sh', '-c', 'ls -A /workspace/.nemoclaw-quarantine; cat /workspace/.envrc']);
    assert.equal(look.stdout, '');
    assert.deepEqual(((await gateway.call('destroy', 'second')) as Released).found, []);
  });

  it('a launch that fails leaves no placeholder and no manifest', async () => {
    const folder = await instance.workspace('failing');
    const plan = instance.plan(spec, (p) => ({ ...p, view: [...p.view, { do: 'link', path: '/no/such/parent', to: 'x' }] }));
    await assert.rejects(gateway.call('create', 'failing', plan, folder.id, ''), { code: 'view' });
    for (let i = 0; i < 2400 && manifests().includes('failing.json'); i++) await new Promise((next) => setTimeout(next, 25));
    assert.deepEqual(readdirSync(folder.path), []);
    assert.ok(!manifests().includes('failing.json'));
  });
});

void describe('when everything stops', root, () => {
  it('what sandboxes left is put away before openshelld ends', async () => {
    const instance = await TestInstance.start();
    const outside = mkdtempSync(join(tmpdir(), 'nemoclaw-stopped-'));
    try {
      const gateway = await instance.service('gateway');
      const reply = await instance.register(outside);
      assert.ok(reply.ok);
      await gateway.call('create', 'last', instance.plan(spec), reply.id, '');
      await gateway.run('last', 'plant', ['/bin/sh', '-c', 'echo evil > /workspace/.envrc']);
      writeFileSync(join(outside, 'mine'), 'mine');
      assert.equal(await instance.stop(), 0);
      assert.deepEqual(readdirSync(outside).sort(), ['.nemoclaw-quarantine', 'mine']);
    } finally {
      rmSync(outside, { recursive: true, force: true });
    }
  });
});
