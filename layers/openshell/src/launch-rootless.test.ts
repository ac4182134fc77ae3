/** Sandboxes that a plain user makes, with nothing but user namespaces. The tests are root's, so that they can be any user. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { LayerSwitch } from '@nemoclaw/contract';
import { launcherPath } from './launch-alone.ts';
import { namespaceHint, readLaunchFacts } from './launch-facts.ts';
import { trial, workspaceSpec, type Trial } from './launch-trial.ts';
import { buildNative } from './native-build.ts';

const person = { uid: 65533, gid: 65533 };
const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
const program = fileURLToPath(new URL('../bin/openshell.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'openshell-rootless-'));
const trials: Trial[] = [];
function sandbox(spec: string, more: Parameters<typeof trial>[1] = {}): Trial {
  const made = trial(spec, { as: person, ...more });
  trials.push(made);
  return made;
}

before(() => {
  buildNative('openshell-launch');
  chmodSync(folder, 0o755);
});
after(() => {
  trials.forEach((t) => t.remove());
  rmSync(folder, { recursive: true, force: true });
});

test('the same probe passes, but for what only a uid of its own stops', root, async () => {
  const asRoot = Object.keys((await trialOfRoot().run(['/bin/true'])).report?.probe ?? {});
  for (const spec of [workspaceSpec, 'isolation: { network: none, filesystem: read-only, syscalls: minimal }', `${workspaceSpec}, process: { user: 10001 }`]) {
    const result = await sandbox(spec).run(['/bin/true']);
    assert.equal(result.code, 0, result.stderr);
    const probe = Object.entries(result.report?.probe ?? {});
    assert.deepEqual(probe.filter(([, stopped]) => !stopped), []);
    assert.deepEqual(asRoot.filter((name) => !probe.some(([tried]) => tried === name)), ['uid.root-file']);
  }
});

function trialOfRoot(): Trial {
  const made = trial(workspaceSpec);
  trials.push(made);
  return made;
}

// A /proc can only be mounted for a pid namespace of one's own, so that this one cannot be left out either.
test('each layer that can be switched off is missed by exactly its own tries; uid and capabilities cannot', root, async () => {
  for (const layer of ['landlock', 'seccomp', 'view', 'netns'] satisfies LayerSwitch[]) {
    const result = await sandbox(workspaceSpec, { off: [layer] }).run(['/bin/true']);
    assert.equal(result.code, 0, `${layer}: ${result.stderr}`);
    const open = Object.entries(result.report?.probe ?? {}).filter(([, stopped]) => !stopped).map(([name]) => name.split('.')[0]);
    assert.deepEqual([...new Set(open)], [layer]);
  }
  assert.match((await sandbox(workspaceSpec, { off: ['uid'] }).run(['/bin/true'])).stderr, /without root there is no uid/);
});

test('the agent sees its own number, and to the host it is the person and nobody else', root, async () => {
  const t = sandbox(workspaceSpec);
  const result = await t.sh('id -u; id -g; echo x > made; stat -c %u made; cat /proc/self/uid_map; grep -E "^(CapPrm|CapBnd|NoNewPrivs)" /proc/self/status');
  assert.deepEqual(result.stdout.replace(/[ \t]+/g, ' ').trim().split('\n').map((line) => line.trim()), ['65533', '65533', '65533', '65533 0 1', 'CapPrm: 0000000000000000', 'CapBnd: 0000000000000000', 'NoNewPrivs: 1'], result.stderr);
  assert.equal(statSync(join(t.workspace, 'made')).uid, person.uid);
  assert.equal((await sandbox(`${workspaceSpec}, process: { user: 10001 }`).sh('id -u')).stdout, '10001\n');
  const other = await sandbox(workspaceSpec, { uid: 1000 }).run(['/bin/true']);
  assert.deepEqual([other.code, other.report], [1, undefined]);
  assert.match(other.stderr, /can only be uid 65533/);
});

test('a set-uid program of root gives nothing', root, async () => {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  copyFileSync('/usr/bin/id', join(bin, 'id'));
  chmodSync(join(bin, 'id'), 0o4755);
  assert.match(execFileSync(join(bin, 'id'), { ...person, encoding: 'utf8' }), /euid=0/, 'outside it does');
  const t = sandbox(workspaceSpec, { change: (plan) => ({ ...plan, view: [...plan.view, { do: 'bind', path: '/opt/bin', source: bin, optional: false }] }), bindRoot: bin });
  const result = await t.run(['/opt/bin/id']);
  assert.match(result.stdout, /^uid=65533\(agent\) gid=65533\(agent\)/, result.stderr);
  assert.doesNotMatch(result.stdout, /euid/);
});

test('ordinary work goes on: node, git, python, sockets, pipes, a terminal’s folder, devices', root, async () => {
  const result = await sandbox(workspaceSpec).sh(`set -e
cd /workspace
node -e 'const n=require("net");const s=n.createServer(c=>c.end("loop")).listen(0,"127.0.0.1",()=>n.connect(s.address().port,"127.0.0.1").on("data",d=>{console.log(String(d));s.close()}))'
git init -q r && cd r && git config user.email a@example.org && git config user.name a && echo x > f && git add f && git commit -qm message && git log --format=%s && cd ..
printf '#include <stdio.h>\\nint main(void){puts("compiled");return 0;}' > a.c && gcc a.c -o a.out && ./a.out
echo shared > /dev/shm/x && cat /dev/shm/x && head -c 4 /dev/urandom | wc -c && echo gone > /dev/null && test -c /dev/zero && test -e /dev/ptmx
(echo again > /dev/stdout) | cat; test -w /tmp && test -w "$HOME" && test -r /proc/meminfo && echo end`);
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(result.stdout.trim().split('\n'), ['loop', 'message', 'compiled', 'shared', '4', 'again', 'end']);
});

test('denied, frozen and thawed parts hold', root, async () => {
  const t = sandbox('isolation: { filesystem: workspace, syscalls: standard }, filesystem: { readOnly: [/workspace/lib/**], deny: [/workspace/a/keys/**, /workspace/.env] }');
  mkdirSync(join(t.workspace, 'a/keys'), { recursive: true });
  mkdirSync(join(t.workspace, 'lib'));
  writeFileSync(join(t.workspace, 'a/keys/secret'), 'secret');
  writeFileSync(join(t.workspace, 'lib/file'), 'kept');
  execFileSync('chown', ['-R', '65533:65533', t.workspace]);
  const result = await t.sh('cat a/keys/secret; mv a b; cat .env; echo x > .env; mv .env e; echo x > lib/file; rm lib/file; chmod 777 lib/file; mv lib l; cat lib/file; echo fine > a/other && cat a/other');
  assert.equal(result.stdout, 'keptfine\n');
  const ro = sandbox('isolation: { filesystem: read-only, syscalls: standard }, filesystem: { readWrite: [/workspace/out/**] }');
  mkdirSync(join(ro.workspace, 'out'));
  chownSync(join(ro.workspace, 'out'), person.uid, person.gid);
  assert.equal((await ro.sh('echo x > file; chmod 700 .; echo y > out/file && cat out/file')).stdout, 'y\n');
  assert.deepEqual(readdirSync(ro.workspace), ['out']);
});

test('without a control group processes are still counted, and the memory of each is limited', root, async () => {
  const t = sandbox(`${workspaceSpec}, resources: { maxPids: 20, maxMemory: 300Mi }`);
  assert.equal(t.plan.limits.memoryBytes, 0);
  const forks = await t.sh('for i in $(seq 40); do sleep 5 & done 2>/dev/null; jobs | wc -l; kill $(jobs -p) 2>/dev/null');
  assert.match(`${forks.stderr} ${forks.code}`, /fork|[1-9]$/);
  const big = (mebi: number): string => `python3 -c 'x = bytearray(${mebi} << 20); print(len(x) >> 20)'`;
  assert.equal((await t.sh(big(100))).stdout, '100\n');
  assert.match((await t.sh(big(500))).stderr, /MemoryError/);
});

test('another file system below the workspace is not shown, and starts nothing', root, async () => {
  const t = sandbox(workspaceSpec);
  mkdirSync(join(t.workspace, 'mounted'));
  writeFileSync(join(folder, 'plan.json'), JSON.stringify(t.plan));
  const script = 'mount -t tmpfs none "$1/mounted" && exec setpriv --reuid 65533 --regid 65533 --clear-groups "$2" --plan-fd 5 --workspace "$1" --bind-root /usr --bind-root /etc --bind-root /opt --bind-root "$4" -- /bin/true 5< "$3"';
  const { status, stderr } = spawnSync('unshare', ['-m', 'sh', '-c', script, 'sh', t.workspace, launcherPath, join(folder, 'plan.json'), join(process.execPath, '..')], { encoding: 'utf8' });
  assert.equal(status, 1, stderr);
  assert.match(stderr, /another file system is mounted below/);
});

/** `openshell run` as the person. */
function run(spec: string): { status: number | null; stdout: string; stderr: string } {
  const file = join(folder, 'policy.yaml');
  writeFileSync(file, `apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: plain }\nspec:\n${spec}`);
  return spawnSync(process.execPath, [program, 'run', '--policy', file, '--no-workspace', '--', '/bin/echo', 'started'], { encoding: 'utf8', cwd: folder, ...person });
}

test('openshell run works for a plain user, and refuses what only root could enforce', root, () => {
  const plain = run('  isolation: { network: none }\n');
  // Nobody could be asked in time: what would be asked about is not there.
  const asked = run('  isolation: { network: none }\n  process: { exec: { escalate: [/usr/bin/echo] } }\n');
  assert.ok(asked.status !== 0 && asked.stdout === '', asked.stdout + asked.stderr);
  assert.equal(plain.stdout, 'started\n', plain.stderr);
  for (const spec of [
    '  isolation: { network: none }\n  requires: [tier-b]\n',
    '  isolation: { network: none }\n  auditLog: { syscalls: counts }\n',
    ...(readLaunchFacts(person).cgroup.memory ? [] : ['  isolation: { network: none }\n  resources: { maxMemory: 1Gi }\n']),
  ]) {
    const { status, stdout, stderr } = run(spec);
    assert.deepEqual([status, stdout], [2, ''], `${spec}: ${stderr}`);
    assert.match(stderr, /policy\.yaml:6:\d+[^]*NEMO_E_POLICY_NEEDS/);
  }
  assert.equal(run('  isolation: { network: none }\n  resources: { maxMemory: 1Gi }\n  auditLog: { syscalls: counts }\n  enforcement: best-effort\n').stdout, 'started\n');
  assert.equal(run('  isolation: { network: none }\n  requires: [tier-b]\n  enforcement: best-effort\n').status, 2);
});

test('where user namespaces are switched off, the reason and what to do are said', () => {
  const facts = { rootless: true, landlock: 7, namespaces: 'namespaces: No space left on device', cgroup: { v2: false, memory: false, pids: false, cpu: false, freezer: false } };
  assert.match(namespaceHint(facts, (name) => (name === 'user/max_user_namespaces' ? '0' : undefined)), /max_user_namespaces=/);
  assert.match(namespaceHint({ ...facts, namespaces: 'a private file system: Permission denied' }, (name) => (name.includes('apparmor') ? '1' : undefined)), /AppArmor/);
  assert.equal(namespaceHint({ ...facts, namespaces: '' }, () => '0'), '');
});

test('doctor says for this caller what is enforced, what is not, and why', root, () => {
  const report = (as?: typeof person): Record<string, unknown> => JSON.parse(spawnSync(process.execPath, [program, 'doctor', '--json'], { encoding: 'utf8', ...as }).stdout) as Record<string, unknown>;
  const mine = report();
  const theirs = report(person);
  assert.match(String(mine['tier']), /^[AB]$/);
  assert.notEqual(mine['because'], '');
  assert.deepEqual([mine['launched'], theirs['tier'], theirs['launched']], [true, 'C', true]);
  assert.ok(Object.values(theirs['probe'] as Record<string, boolean>).every((stopped) => stopped));
  assert.match(String(theirs['because']), /not root/);
  assert.match((theirs['notEnforced'] as string[]).join('\n'), /no user of its own[^]*never held/);
  if (!readLaunchFacts(person).cgroup.memory) assert.match((theirs['notEnforced'] as string[]).join('\n'), /maxMemory/);
  assert.match((theirs['hints'] as string[]).join('\n'), /Delegate=yes/);
});
