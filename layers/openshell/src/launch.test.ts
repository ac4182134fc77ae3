import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync, chownSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { layerSwitches, type LayerSwitch } from '@nemoclaw/contract';
import { readHostFacts } from './host-facts.ts';
import { launcherPath } from './launch-alone.ts';
import { trial, workspaceSpec, type Trial } from './launch-trial.ts';
import { buildNative } from './native-build.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
const trials: Trial[] = [];
function sandbox(...args: Parameters<typeof trial>): Trial {
  const made = trial(...args);
  trials.push(made);
  return made;
}

before(() => buildNative('openshell-launch'));
after(() => trials.forEach((t) => t.remove()));

test('the probe tries at least 25 things and all are stopped, at every level and network', root, async () => {
  for (const spec of [workspaceSpec, 'isolation: { network: none, filesystem: read-only, syscalls: minimal }', `${workspaceSpec}, process: { user: 10001 }`]) {
    const result = await sandbox(spec).run(['/bin/true']);
    assert.equal(result.code, 0, result.stderr);
    const probe = Object.entries(result.report?.probe ?? {});
    assert.ok(probe.length >= 25);
    assert.deepEqual(probe.filter(([, stopped]) => !stopped), []);
  }
});

test('each layer switch lets exactly its own tries through', root, async () => {
  for (const layer of layerSwitches) {
    const result = await sandbox(workspaceSpec, { off: [layer as LayerSwitch] }).run(['/bin/true']);
    assert.equal(result.code, 0, `${layer}: ${result.stderr}`);
    const open = Object.entries(result.report?.probe ?? {}).filter(([, stopped]) => !stopped).map(([name]) => name.split('.')[0]);
    // Root's privilege *is* its capabilities: with them all, reading root's files and becoming root work again.
    const others = layer === 'caps' ? ['uid', 'all'] : [];
    assert.ok(open.includes(layer), `${layer} is missed when it is off`);
    assert.deepEqual([...new Set(open)].filter((name) => name !== layer && !others.includes(name ?? '')), []);
  }
});

test('with all that keeps signals inside switched off, the end of a sandbox kills nobody else', root, () => {
  const t = sandbox(workspaceSpec, { off: ['landlock', 'pidns', 'uid'] });
  const plan = join(t.workspace, 'plan.json');
  writeFileSync(plan, JSON.stringify(t.plan));
  const roots = readHostFacts({ nodeBinary: process.execPath }).bindRoots.flatMap((path) => ['--bind-root', path]);
  // In a pid namespace of the test's own, so that the machine outlives a failure; its numbers are not those of another run, since they name control groups.
  const first = String(10_000 + ((process.pid * 7919) % 20_000));
  const script = 'echo "$1" >/proc/sys/kernel/ns_last_pid; shift; sleep 300 & neighbour=$!; plan=$1; shift; for i in 1 2 3 4 5 6 7 8 9 10; do "$@" 3<"$plan" || exit; done; kill -0 $neighbour && echo it lives';
  const out = execFileSync('unshare', ['--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c', script, 'sh', first, plan, launcherPath, '--plan-fd', '3', '--workspace', t.workspace, '--testing', ...roots, '--', '/bin/true'], { encoding: 'utf8', timeout: 120_000 });
  assert.match(out, /^it lives$/m);
});

test('a layer cannot be switched off where the host does not say testing, and a bad plan is refused', root, async () => {
  const change = sandbox(workspaceSpec, { change: (plan) => ({ ...plan, off: ['landlock'] }) });
  const result = await change.run(['/bin/true']);
  assert.equal(result.code, 1);
  assert.match(result.stderr, /testing: true/);
  const outside = sandbox(workspaceSpec, { change: (plan) => ({ ...plan, view: [...plan.view, { do: 'bind', path: '/opt/x', source: '/root', optional: false }] }) });
  assert.match((await outside.run(['/bin/true'])).stderr, /outside the host's bounds/);
  const dots = sandbox(workspaceSpec, { change: (plan) => ({ ...plan, view: [...plan.view, { do: 'bind', path: '/opt/x', source: '/usr/../root', optional: false }] }) });
  assert.match((await dots.run(['/bin/true'])).stderr, /outside the host's bounds/);
});

test('a plan without a real seccomp filter or with Landlock wide open does not pass the probe', root, async () => {
  const allowAll = '06000000' + '0000ff7f';
  const open = await sandbox(workspaceSpec, { change: (plan) => ({ ...plan, seccomp: { level: 'open', filter: allowAll } }) }).run(['/bin/true']);
  assert.equal(open.code, 1);
  assert.match(open.stderr, /probe: not stopped: .*seccomp/);
  const wide = await sandbox(workspaceSpec, { change: (plan) => ({ ...plan, landlock: { ...plan.landlock, rules: [{ path: '/', rights: 0xffff }] } }) }).run(['/bin/true']);
  assert.match(wide.stderr, /probe: not stopped: .*landlock/);
});

test('ordinary work goes on: node, git, gcc, python, sockets, pipes', root, async () => {
  const t = sandbox(workspaceSpec);
  const result = await t.sh(`set -e
cd /workspace
node -e 'const n=require("net");const s=n.createServer(c=>c.end("loop")).listen(0,"127.0.0.1",()=>n.connect(s.address().port,"127.0.0.1").on("data",d=>{console.log(String(d));s.close()}))'
node -e 'const n=require("net");const s=n.createServer(c=>c.end("unix")).listen("/workspace/s.sock",()=>n.connect("/workspace/s.sock").on("data",d=>{console.log(String(d));s.close()}))'
node -e 'const {Worker}=require("worker_threads");new Worker("console.log(\\"thread\\")",{eval:true})'
git init -q r && cd r && git config user.email a@example.org && git config user.name a && echo x > f && git add f && git commit -qm message && git log --format=%s && cd ..
printf '#include <stdio.h>\\nint main(void){puts("compiled");return 0;}' > a.c && gcc a.c -o a.out && ./a.out
mkfifo p && (echo pipe > p &) && cat p && echo shared > /dev/shm/x && cat /dev/shm/x
mkdir -p d/e && mv d/e d/f && rm -r d && test -w /tmp && test -w "$HOME" && head -c 4 /dev/urandom | wc -c
(echo again > /dev/stdout) | cat; cat /etc/passwd | grep -c agent; test -r /proc/meminfo && test -r /proc/cpuinfo && ls /proc/self/fd > /dev/null && echo proc
`);
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(result.stdout.trim().split('\n'), ['loop', 'unix', 'thread', 'message', 'compiled', 'pipe', 'shared', '4', 'again', '1', 'proc']);
});

test('python multiprocessing and a debugger on an own child work', { ...root }, async (t) => {
  const python = await sandbox(workspaceSpec).run(['/usr/bin/env', 'sh', '-c', 'test -x /usr/bin/python3 || exit 77; /usr/bin/python3 -c "import multiprocessing as m\nq=m.Queue()\np=m.Process(target=q.put,args=(7,))\np.start();print(q.get());p.join();m.Semaphore(1)"']);
  if (python.code === 77) t.diagnostic('no python3 on this host');
  else assert.equal(python.stdout.trim(), '7', python.stderr);
  const strace = await sandbox(workspaceSpec).sh('command -v strace > /dev/null || exit 77; strace -o /tmp/o true && grep -c execve /tmp/o');
  if (strace.code === 77) t.diagnostic('no strace on this host');
  else assert.equal(strace.stdout.trim(), '1', strace.stderr);
});

test('exit codes, signals and standard input pass through', root, async () => {
  const t = sandbox(workspaceSpec);
  assert.equal((await t.sh('exit 7')).code, 7);
  assert.equal((await t.sh('kill -9 $$')).code, 137);
  assert.equal((await t.run(['/no/such/program'])).code, 127);
  assert.equal((await t.run(['cat'], 'through')).stdout, 'through');
});

test('files the agent makes belong to the workspace owner on disk; the number seen inside is the policy’s', root, async () => {
  const t = sandbox(`${workspaceSpec}, process: { user: 10001 }`);
  chownSync(t.workspace, 54321, 54321);
  const result = await t.sh('id -u; echo x > made; stat -c %u made');
  assert.deepEqual(result.stdout.trim().split('\n'), ['10001', '10001'], result.stderr);
  assert.equal(statSync(`${t.workspace}/made`).uid, 54321);
});

test('read-only, thawed, denied and frozen parts hold, and their parents cannot be moved away', root, async () => {
  const t = sandbox('isolation: { filesystem: workspace, syscalls: standard }, filesystem: { readOnly: [/workspace/lib/**], deny: [/workspace/a/keys/**, /workspace/.env] }');
  mkdirSync(`${t.workspace}/a/keys`, { recursive: true });
  writeFileSync(`${t.workspace}/a/keys/secret`, 'secret');
  mkdirSync(`${t.workspace}/lib`);
  writeFileSync(`${t.workspace}/lib/file`, 'kept');
  const result = await t.sh('cat a/keys/secret; mv a b; cat .env; echo x > .env; mv .env e; echo x > lib/file; rm lib/file; chmod 777 lib/file; mv lib l; cat lib/file; echo fine > a/other && cat a/other');
  assert.equal(result.stdout, 'keptfine\n');
  assert.equal(readFileSync(`${t.workspace}/lib/file`, 'utf8'), 'kept');
  assert.ok(readdirSync(t.workspace).includes('a'));

  const ro = sandbox('isolation: { filesystem: read-only, syscalls: standard }, filesystem: { readWrite: [/workspace/out/**] }');
  mkdirSync(`${ro.workspace}/out`);
  const some = await ro.sh('echo x > file; touch . ; chmod 700 .; echo y > out/file && cat out/file');
  assert.equal(some.stdout, 'y\n');
  assert.deepEqual(readdirSync(ro.workspace), ['out']);
});

test('a denied name below a folder that is not there starts nothing, since the agent could make both', root, async () => {
  const result = await sandbox('isolation: { filesystem: workspace }, filesystem: { deny: [/workspace/later/keys/**] }').run(['/bin/true']);
  assert.equal(result.code, 1);
  assert.match(result.stderr, /placeholder for \/workspace\/later\/keys/);
});

test('a symbolic link in the workspace never decides where a mount goes', root, async () => {
  const t = sandbox('isolation: { filesystem: workspace }, filesystem: { deny: [/workspace/keys/x/**] }');
  execFileSync('ln', ['-s', '/etc', `${t.workspace}/keys`]);
  const result = await t.run(['/bin/true']);
  assert.equal(result.code, 1);
  assert.match(result.stderr, /view: .*keys/);
});

test('exec rules: only what is named starts, also not through the loader', root, async () => {
  const t = sandbox(`${workspaceSpec}, process: { exec: { allow: [/usr/bin/dash, /usr/bin/cat, /usr/bin/cp, /bin/sh] } }`);
  const result = await t.run(['/usr/bin/dash', '-c', 'cp /usr/bin/id mine; ./mine; /usr/bin/id; /lib64/ld-linux-x86-64.so.2 ./mine; cat /etc/hostname']);
  assert.equal(result.stdout, 'sandbox\n', result.stderr);
});

test('what the kernel tells about the host is out of sight', root, async () => {
  const result = await sandbox(workspaceSpec).sh('for f in cmdline keys kallsyms timer_list kcore kmsg sysrq-trigger; do cat /proc/$f > /dev/null 2>&1 && echo $f; done; ls /sys /boot /root /var/lib 2> /dev/null; ls /proc/bus 2> /dev/null; cat /proc/sys/net/netfilter/nf_conntrack_count; for p in /proc/[0-9]*; do echo ${p#/proc/}; done | head -50 | wc -l');
  const [conntrack, processes] = result.stdout.trim().split('\n');
  assert.equal(conntrack, '0', result.stdout);
  assert.ok(Number(processes) < 8, result.stdout);
});

test('limits hold: processes, open files, no core dumps', root, async () => {
  const t = sandbox(`${workspaceSpec}, resources: { maxPids: 20, maxOpenFiles: 64 }`);
  const result = await t.sh('ulimit -n; ulimit -c; for i in $(seq 40); do sleep 5 & done 2>/dev/null; jobs | wc -l; kill $(jobs -p) 2>/dev/null');
  const [files, core] = result.stdout.trim().split('\n');
  assert.deepEqual([files, core], ['64', '0']);
  assert.match(`${result.stderr} ${result.code}`, /fork|[1-9]$/);
});

test('nothing is left behind: mounts, control groups, network namespaces, processes', root, async () => {
  const all = (): string[] => [
    readFileSync('/proc/self/mounts', 'utf8').split('\n').filter((line) => line.includes('openshell-trial')).join('\n'),
    ...readdirSync('/sys/fs/cgroup', { recursive: false }).flatMap((name) => {
      try {
        return readdirSync(`/sys/fs/cgroup/${String(name)}`).filter((g) => g.startsWith('nemoclaw-alone-') && !existsProcess(g));
      } catch {
        return [];
      }
    }),
  ].filter((line) => line !== '');
  const before = all(); // of who was killed
  const left = (): string[] => all().filter((one) => !before.includes(one));
  const uid = 0x71fffff0;
  const t = sandbox(workspaceSpec, { uid });
  await t.sh('(setsid sleep 1000 &) ; (setsid sh -c "trap \'\' TERM HUP; sleep 1000" &); exit 3');
  // Of others what ends between two looks is gone in the next one; what is left behind stays.
  for (let i = 0; i < 600 && left().length > 0; i += 1) await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(left(), []);
  const alive = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && ownerOf(pid) === uid);
  assert.deepEqual(alive, []);
});

/** A parallel test's launcher may be running. */
function existsProcess(group: string): boolean {
  return readdirSync('/proc').includes(/^nemoclaw-alone-(\d+)/.exec(group)?.[1] ?? '');
}
function ownerOf(pid: string): number {
  try {
    return statSync(`/proc/${pid}`).uid;
  } catch {
    return -1;
  }
}
