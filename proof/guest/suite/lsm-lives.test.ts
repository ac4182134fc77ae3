/** Tier A under kill -9, late answers, killed agents: whatever ends, the sandbox stays shut and nothing stays stuck. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadSandboxPolicy, type CreateResult, type SyscallHold } from '@nemoclaw/contract';
import { planFor, readHostFacts } from '@nemoclaw/openshell';
import { TestInstance, type TestService } from '../../../layers/openshell/src/openshelld-test-instance.ts';

const spec = 'isolation: { network: none, filesystem: workspace, syscalls: standard }, requires: [tier-a], filesystem: { escalate: [{ path: /workspace/prod/**, on: [delete, rename, write] }] }';
const python = (code: string): string[] => ['/usr/bin/python3', '-c', `import os, errno, time, signal\ndef e(f):\n    try:\n        f(); return 'ok'\n    except OSError as x:\n        return errno.errorcode[x.errno]\nos.chdir('/workspace')\n${code}`];
const pins = (): string[] => (existsSync('/sys/fs/bpf/nemoclaw') ? readdirSync('/sys/fs/bpf/nemoclaw') : []);

describe('tier A through the deaths of its parts', { timeout: 1_200_000 }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let folder: string;
  let next = 0;
  const id = (): string => `x${(next += 1)}`;
  const start = (code: string): Promise<string> => gateway.run('h', id(), python(code)).then((o) => (o.signal ?? '') + o.stdout.trim() + o.stderr);
  const held = (code: string, path: string): ReturnType<typeof gateway.held<string>> => gateway.held(() => start(code), (hold) => hold.path === path);
  const answer = (hold: SyscallHold, verdict: 'allow' | 'deny'): Promise<unknown> => gateway.call('answerHold', 'h', hold.holdId, verdict);

  before(async () => {
    instance = await TestInstance.start({ holdSeconds: 20 });
    gateway = await instance.service('gateway');
    const host = (await gateway.call('host')) as { readonly tier: string; readonly tierWhy: string };
    assert.equal(host.tier, 'A', host.tierWhy);
    const workspace = await instance.workspace('project');
    folder = workspace.path;
    mkdirSync(join(folder, 'prod'));
    for (const name of 'abcdefg') writeFileSync(join(folder, 'prod', name), name);
    const policy = loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: trial }\nspec: { ${spec} }\n`, 'trial.yaml');
    const plan = planFor(policy, { ...readHostFacts({ nodeBinary: process.execPath }), tier: 'A' }, { hasWorkspace: true });
    (await gateway.call('create', 'h', plan, workspace.id, 'worker:1')) as CreateResult;
  });
  after(async () => {
    await instance?.stop();
    assert.deepEqual(pins(), [], 'pins are left');
  });

  it('asks, does what was approved and refuses what was denied', async () => {
    const yes = await held(`print(e(lambda: os.unlink('prod/a')))`, '/workspace/prod/a');
    assert.deepEqual([yes.hold.op, yes.hold.syscall, yes.hold.rule], ['delete', 'unlink', 0]);
    assert.deepEqual(await answer(yes.hold, 'allow'), { outcome: 'performed', errno: 0 });
    assert.equal(await yes.out, 'ok');
    const no = await held(`print(e(lambda: os.unlink('prod/b')))`, '/workspace/prod/b');
    await answer(no.hold, 'deny');
    assert.equal(await no.out, 'EPERM');
    assert.ok(existsSync(join(folder, 'prod/b')) && !existsSync(join(folder, 'prod/a')));
  });

  it('stays shut while openshelld is dead, keeps the question, and the next one resumes it', async () => {
    assert.deepEqual(pins().length, 1);
    const many = start(`r = set()\nfor i in range(3000):\n    r.add(e(lambda: os.close(os.open('.envrc', os.O_CREAT | os.O_WRONLY)))); time.sleep(0.002)\nprint(sorted(r))`);
    const { hold, out } = await held(`print(e(lambda: os.unlink('prod/c')))`, '/workspace/prod/c');
    await instance.killDaemon();
    const inventory = await gateway.saw('inventory', (m) => m.holds.some((h) => h.holdId === hold.holdId));
    assert.deepEqual(inventory.holds.find((h) => h.holdId === hold.holdId), hold);
    assert.ok(existsSync(join(folder, 'prod/c')));
    assert.deepEqual(await answer(hold, 'allow'), { outcome: 'performed', errno: 0 });
    assert.equal(await out, 'ok');
    assert.equal(await many, "['EPERM']");
    assert.ok(!existsSync(join(folder, '.envrc')));
    const again = await held(`print(e(lambda: os.unlink('prod/d')))`, '/workspace/prod/d');
    await answer(again.hold, 'deny');
    assert.equal(await again.out, 'EPERM');
  });

  it('a process that is woken by its own side only asks the same again', async () => {
    const code = `
pid = os.fork()
if pid == 0:
    r = e(lambda: os.unlink('prod/e')); os._exit(0 if r == 'EPERM' else 1)
for i in range(300):
    time.sleep(0.005); os.kill(pid, signal.SIGCONT)
print(os.waitpid(pid, 0)[1])`;
    const { hold, out } = await held(code, '/workspace/prod/e');
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const asked = gateway.news.filter((m) => m.t === 'hold' && m.hold.path === '/workspace/prod/e').length;
    assert.equal(asked, 1, 'one question');
    await answer(hold, 'deny');
    assert.equal(await out, '0');
  });

  it('an agent that is killed meanwhile ends its question, an answer that never comes is a denial', async () => {
    const code = `
pid = os.fork()
if pid == 0:
    os.unlink('prod/f'); os._exit(0)
time.sleep(1); os.kill(pid, signal.SIGKILL); print(os.waitpid(pid, 0)[1])`;
    const { hold, out } = await held(code, '/workspace/prod/f');
    const ended = await gateway.saw('hold.ended', (m) => m.holdId === hold.holdId);
    assert.equal(ended.outcome, 'agent-gone');
    assert.equal(await out, '9');
    const late = await held(`print(e(lambda: os.unlink('prod/g')))`, '/workspace/prod/g');
    assert.equal((await gateway.saw('hold.ended', (m) => m.holdId === late.hold.holdId, 60_000)).outcome, 'timeout');
    assert.equal(await late.out, 'EPERM');
    assert.equal(readFileSync(join(folder, 'prod/g'), 'utf8'), 'g');
  });

  it('a wall clock that is set ahead and back moves no deadline, in tier A and in B, and opens nothing', async () => {
    const other = await instance.workspace('second');
    mkdirSync(join(other.path, 'prod'));
    const names = ['late', 'yes', 'no'];
    for (const path of [folder, other.path]) for (const name of names) writeFileSync(join(path, 'prod', name), name);
    const inB = loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: second }\nspec: { ${spec.replace('requires: [tier-a], ', '')} }\n`, 'second.yaml');
    await gateway.call('create', 'b', planFor(inB, { ...readHostFacts({ nodeBinary: process.execPath }), tier: 'B' }, { hasWorkspace: true }), other.id, 'worker:1');
    const begun = { wall: Date.now(), passed: performance.now() };
    const set = (ahead: number): void => void execFileSync('date', ['-s', `@${Math.round((begun.wall + performance.now() - begun.passed) / 1000) + ahead}`]);
    const day = 86_400;
    const delayed = (sandbox: string, name: string): ReturnType<typeof gateway.held<string>> =>
      gateway.held(() => gateway.run(sandbox, id(), python(`print(e(lambda: os.unlink('prod/${name}')))`)).then((o) => (o.signal ?? '') + o.stdout.trim() + o.stderr), (hold) => hold.sandbox === sandbox);
    const answered = async (sandbox: string, name: string, verdict: 'allow' | 'deny', ahead: number): Promise<string> => {
      const { hold, out } = await delayed(sandbox, name);
      set(ahead);
      await gateway.call('answerHold', sandbox, hold.holdId, verdict);
      return out;
    };
    try {
      const late = [await delayed('h', 'late'), await delayed('b', 'late')];
      set(2 * day);
      set(-2 * day);
      for (const { hold, out } of late) {
        const ended = await gateway.saw('hold.ended', (m) => m.holdId === hold.holdId, 60_000);
        // Both are of CLOCK_BOOTTIME, which uptime gives to 10 ms.
        assert.ok(uptime() * 1000 >= hold.deadline - 20, `ended ${hold.deadline - uptime() * 1000} ms early`);
        assert.deepEqual([ended.outcome, await out], ['timeout', 'EPERM']);
      }
      for (const [sandbox, path] of [['h', folder], ['b', other.path]] as const) {
        assert.equal(await answered(sandbox, 'yes', 'allow', 2 * day), 'ok');
        assert.equal(await answered(sandbox, 'no', 'deny', -2 * day), 'EPERM');
        assert.deepEqual(names.filter((name) => existsSync(join(path, 'prod', name))), ['late', 'no']);
      }
    } finally {
      set(0);
      await gateway.call('destroy', 'b');
    }
  });

  it('a thread that flips a path between asked and free wins nothing', async () => {
    for (let i = 0; i < 40; i += 1) writeFileSync(join(folder, 'prod', `keep${i}`), 'x');
    // Each deletion names prod/keepN or free/keepN, as the other thread has it: what falls on prod is asked about, and nobody answers in time.
    const out = start(`
import threading
os.makedirs('free', exist_ok=True); os.symlink('free', 'link'); stop = False
def flip():
    while not stop:
        for to in ('prod', 'free'):
            os.symlink(to, 'l2'); os.rename('l2', 'link')
t = threading.Thread(target=flip); t.start()
for i in range(40):
    open('free/keep%d' % i, 'w').close()
    try: os.unlink('link/keep%d' % i)
    except OSError: pass
stop = True; t.join(); print('end')`);
    const deny = setInterval(() => {
      for (const m of gateway.news) if (m.t === 'hold' && m.hold.path.startsWith('/workspace/prod/keep')) void answer(m.hold, 'deny').catch(() => undefined);
    }, 100);
    try {
      assert.equal(await out, 'end');
    } finally {
      clearInterval(deny);
    }
    assert.equal(readdirSync(join(folder, 'prod')).filter((name) => name.startsWith('keep')).length, 40);
  });
});
