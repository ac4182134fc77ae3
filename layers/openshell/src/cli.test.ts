/** The `openshell` command: what starts nothing, what it answers, and a person at a real terminal. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildNative } from './native-build.ts';

const folder = mkdtempSync(join(tmpdir(), 'openshell-cli-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const program = fileURLToPath(new URL('../bin/openshell.js', import.meta.url));
const asRoot = { skip: process.getuid?.() === 0 ? false : 'needs root' };

function policyFile(spec: string): string {
  const file = join(folder, 'policy.yaml');
  writeFileSync(file, `apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: alone }\nspec:\n${spec}`);
  return file;
}

function openshell(...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
}
const run = (spec: string): { code: number | null; out: string; err: string } => openshell('run', '--policy', policyFile(spec), '--no-workspace', '--', '/bin/echo', 'started');

test('what needs another tier, or is not enforced, starts nothing', asRoot, () => {
  for (const spec of ['  isolation: { network: none }\n  requires: [tier-a]\n', '  isolation: { network: none, filesystem: workspace }\n  requires: [disk-quota]\n']) {
    const { code, out, err } = run(spec);
    assert.deepEqual([code, out], [2, ''], err);
    assert.match(err, /policy\.yaml:6:\d+[^]*NEMO_E_POLICY_NEEDS/);
  }
  assert.equal(run('  isolation: { network: none }\n').out, 'started\n');
});

test('alone too a workspace has a size: who fills it is stopped, the person is told, and ends it', asRoot, async () => {
  const workspace = mkdtempSync(join(tmpdir(), 'openshell-size-'));
  try {
    const file = policyFile('  isolation: { network: none, filesystem: workspace }\n  resources: { maxDisk: 8Mi }\n');
    const child = spawn(process.execPath, [program, 'run', '--policy', file, '--workspace', workspace, '--', '/bin/sh', '-c', 'dd if=/dev/zero of=f bs=1M count=1500; echo all'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '', err = '';
    child.stdout.on('data', (data: Buffer) => (out += data.toString()));
    child.stderr.on('data', (data: Buffer) => {
      err += data.toString();
      if (err.includes('(resources.maxDisk)')) child.kill('SIGTERM');
    });
    const [code] = (await once(child, 'close')) as [number | null];
    assert.match(err, /its workspace is \d+ bytes larger than at the start, 8388608 are allowed \(resources\.maxDisk\)/);
    assert.deepEqual([code, out], [137, '']);
  } finally {
    rmSync(workspace, { recursive: true });
  }
});

test('a command line that is not understood is refused with code 2', () => {
  for (const args of [['fly'], ['run'], ['run', '--policy'], ['run', '--policy', 'x', '--fast', 'ls'], ['policy'], ['policy', 'test'], ['explain', '--policy', 'x', 'fly', '/a'], ['explain', '--policy', 'x', 'rename', '/a'], ['explain', '--policy', 'x', 'read', 'a'], ['policy', 'check', join(folder, 'absent')], ['doctor', 'now'], ['doctor', '--now'], ['top', 'now'], ['diff', '--now'], ['commit', 'now'], ['snapshot']]) {
    const { code, out, err } = openshell(...args);
    assert.deepEqual([code, out], [2, ''], args.join(' '));
    assert.match(err, /NEMO_E_USAGE/);
  }
  assert.match(openshell('--version').out, /^openshell \d+\.\d+\.\d+\n$/);
});

test('every verb has help, and options may stand before or after other words; those of a command are its own', asRoot, () => {
  for (const args of [['--help'], ['-h'], ['help'], ...['run', 'diff', 'commit', 'discard', 'snapshot', 'snapshots', 'restore', 'explain', 'policy', 'top', 'doctor'].map((verb) => [verb, '--help']), ['policy', 'check', '--help'], ['run', '--policy', 'x', '-h'], ['explain', 'read', '/a', '--help']]) {
    const { code, out, err } = openshell(...args);
    assert.deepEqual([code, err], [0, ''], args.join(' '));
    assert.match(out, /^openshell: run a command/);
  }
  const file = policyFile('  isolation: { network: none }\n');
  assert.deepEqual(openshell('run', '--no-workspace', '--policy', file, '/bin/echo', '--help', '--json', '-x'), { code: 0, out: '--help --json -x\n', err: '' });
  assert.match(openshell('explain', 'read', '/workspace/a', '--json', '--policy', file).out, /^{"op":"read"/);
});

test('with --json what goes wrong is JSON, too; the command has no say in it', asRoot, () => {
  const file = policyFile('  isolation: { network: none }\n  requires: [tier-a]\n');
  for (const args of [['run', '--json', '--policy', file, 'ls'], ['run', '--json', '--policy', join(folder, 'absent'), '--', 'ls'], ['doctor', '--json', 'now'], ['explain', '--json', 'read', '/a'], ['top', '--json', '--socket', join(folder, 'absent')]]) {
    const { code, out, err } = openshell(...args);
    assert.deepEqual([code === 0, out], [false, ''], args.join(' '));
    assert.match((JSON.parse(err) as { error: { code: string } }).error.code, /^NEMO_E_/);
  }
  const own = openshell('run', '--policy', file, 'ls', '--json');
  assert.match(own.err, /^error: [^]*`openshell doctor` says what this host has/);
});

test('explain answers with the rule, in words and as JSON, and by its exit code', () => {
  const file = policyFile('  isolation: { filesystem: workspace }\n  filesystem: { deny: [/workspace/keys/**], escalate: [{ path: /workspace/prod/**, on: [delete] }] }\n');
  const asked = (...words: string[]): { code: number | null; verdict: string; rule: string } => {
    const { code, out } = openshell('explain', '--policy', file, '--tier', 'B', '--json', ...words);
    return { code, ...(JSON.parse(out) as { verdict: string; rule: string }) };
  };
  assert.partialDeepStrictEqual(asked('write', '/workspace/a'), { code: 0, verdict: 'allow' });
  assert.partialDeepStrictEqual(asked('read', '/workspace/keys/a'), { code: 3, verdict: 'deny', rule: 'filesystem.deny[0]' });
  assert.partialDeepStrictEqual(asked('delete', '/workspace/prod/a'), { code: 4, verdict: 'escalate', rule: 'filesystem.escalate[0]' });
  assert.match(openshell('explain', '--policy', file, 'read', '/workspace/keys/a').out, /^denied, by filesystem\.deny\[0\]\n {2}stopped by /);
});

test('policy check says whether it would start here, and where it is wrong', asRoot, () => {
  assert.partialDeepStrictEqual(JSON.parse(openshell('policy', 'check', '--json', policyFile('  isolation: { network: none }\n')).out), { name: 'alone', starts: true });
  const needs = openshell('policy', 'check', '--json', policyFile('  isolation: { network: none }\n  requires: [tier-a]\n'));
  assert.equal(needs.code, 2);
  assert.partialDeepStrictEqual(JSON.parse(needs.out), { starts: false, error: { code: 'NEMO_E_POLICY_NEEDS', where: { line: 6 } } });
  const wrong = openshell('policy', 'check', policyFile('  isolation: { network: none, colour: red }\n'));
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /policy\.yaml:5:\d+/);
});

const asking = '  isolation: { network: none, filesystem: workspace, syscalls: standard }\n  filesystem: { escalate: [{ path: /workspace/prod/**, on: [delete] }] }\n';

/** A person: sends each text once what is before it has been shown; `pause` first, in seconds. The last one again where nothing comes of it: a busy machine may have taken it for typed ahead. */
const person = `
import os, pty, select, sys, time, json
steps = json.loads(sys.argv[1])
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown = b''
for wait, pause, keys in steps:
    at = len(shown)
    while wait.encode() not in shown[0 if keys == '' else 0:]:
        try: more = os.read(fd, 4096)
        except OSError: more = b''
        if not more: sys.exit('ended before ' + wait + ': ' + repr(shown))
        shown += more
    time.sleep(pause)
    os.write(fd, keys.encode())
while True:
    if not select.select([fd], [], [], 3)[0]:
        os.write(fd, keys.encode())
        continue
    try: more = os.read(fd, 4096)
    except OSError: break
    if not more: break
    shown += more
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

describe('a person at the terminal', asRoot, () => {
  const workspace = join(folder, 'project');
  const attempt = (steps: readonly (readonly [string, number, string])[], ...command: string[]): Promise<{ code: number | null; shown: string }> => {
    buildNative('openshelld', 'openshell-shim', 'openshell-launch', 'binding.node');
    mkdirSync(join(workspace, 'prod'), { recursive: true });
    writeFileSync(join(workspace, 'prod/a'), 'a');
    const child = spawn('/usr/bin/python3', ['-c', person, JSON.stringify(steps), process.execPath, program, 'run', '--policy', policyFile(asking), '--workspace', workspace, '--', ...command], { stdio: ['ignore', 'pipe', 'inherit'] });
    let shown = '';
    child.stdout.on('data', (data: Buffer) => (shown += data.toString()));
    return new Promise((resolve) => child.on('close', (code) => resolve({ code, shown })));
  };

  test('allows with one key, and the command goes on', async () => {
    const { code, shown } = await attempt([['deny', 0.6, 'a']], '/bin/sh', '-c', 'rm prod/a; echo "rm said $?"; exit 5');
    assert.match(shown, /openshell asks:\r\n {2}\/usr\/bin\/rm \(pid \d+\) wants to delete \/workspace\/prod\/a\r\n {2}rule: filesystem\.escalate\[0\] at .*policy\.yaml:6[^]*allowed\r\n[^]*rm said 0/);
    assert.equal(code, 5);
    assert.equal(existsSync(join(workspace, 'prod/a')), false);
  });

  test('is not answered by what was typed before the question, and denies with one key', async () => {
    const { shown } = await attempt([['ready', 0, 'aaaa'], ['deny', 0.6, 'x'], ['deny', 0.1, 'd']], '/bin/sh', '-c', 'stty -echo; echo ready; sleep 0.3; rm prod/a; echo "rm said $?"');
    assert.match(shown, /denied\r\n[^]*rm said 1/);
    assert.equal(existsSync(join(workspace, 'prod/a')), true);
  });

  test('is asked, not the agent: it can neither answer nor hide or colour the question', async () => {
    const agent = `import os, sys, threading, time
def answer():
    for _ in range(20):
        for path in ('/dev/tty', '/dev/stdin', '/proc/self/fd/0'):
            try:
                with open(path, 'w') as f: f.write('a')
            except OSError: pass
        try:
            import fcntl, termios
            fcntl.ioctl(0, termios.TIOCSTI, b'a')
        except OSError: pass
        time.sleep(0.05)
threading.Thread(target=answer, daemon=True).start()
name = '/workspace/prod/\\x1b[2J\\x1b[8m\\u202eevil'
open(name, 'w').close()
try: os.unlink(name)
except OSError as e: print('got', e.errno)
`;
    const { shown } = await attempt([['deny', 1.2, 'd']], '/usr/bin/python3', '-c', agent);
    assert.match(shown, /wants to delete \/workspace\/prod\/\\u\{1b\}\[2J\\u\{1b\}\[8m\\u\{202e\}evil\r\n/);
    assert.match(shown, /denied\r\n[^]*got 1/);
  });

  test('is missing: everything held is denied, with the reason', () => {
    mkdirSync(join(workspace, 'prod'), { recursive: true });
    writeFileSync(join(workspace, 'prod/a'), 'a');
    const args = [program, 'run', '--policy', policyFile(asking), '--workspace', workspace];
    const plain = spawnSync('setsid', ['-w', process.execPath, ...args, '--', '/bin/sh', '-c', 'read x; rm prod/a; echo "$x $?"; exit 9'], { input: 'a\na\n', encoding: 'utf8' });
    assert.deepEqual([plain.status, plain.stdout], [9, 'a 1\n'], plain.stderr);
    assert.match(plain.stderr, /openshell: denied: \/usr\/bin\/rm \(pid \d+\) wants to delete \/workspace\/prod\/a: there is no terminal to ask at/);
    const report = spawnSync(process.execPath, [...args, '--json', '--', '/bin/sh', '-c', 'rm prod/a; exit 9'], { encoding: 'utf8' });
    const told = JSON.parse(report.stdout) as { events: { message: string }[] };
    assert.partialDeepStrictEqual({ exit: report.status, ...told }, { exit: 9, code: 9, signal: null, stdout: '' });
    assert.ok(told.events.some(({ message }) => /nobody denied: delete \/workspace\/prod\/a/.test(message)));
    assert.equal(existsSync(join(workspace, 'prod/a')), true);
  });

  test('gets the codes of a shell', () => {
    const args = [program, 'run', '--policy', policyFile(asking), '--workspace', workspace, '--'];
    const code = (...command: string[]): number | null => spawnSync(process.execPath, [...args, ...command], { encoding: 'utf8' }).status;
    assert.deepEqual([code('/usr/bin/absent'), code('/bin/sh', '-c', 'kill -KILL $$'), code('/bin/true')], [127, 137, 0]);
    const absent = spawnSync(process.execPath, [...args.slice(0, -1), '--json', '--', '/usr/bin/absent'], { encoding: 'utf8' });
    assert.partialDeepStrictEqual({ exit: absent.status, ...(JSON.parse(absent.stdout) as object) }, { exit: 127, code: 127, stdout: '' });
  });
});
