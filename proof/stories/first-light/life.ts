/** A sandbox that is stopped and started again; what the world says of it each time. */
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Checks } from '../../harness/checks.ts';
import { until, type Instance } from '../../harness/instance.ts';
import { pidsOf } from './services.ts';
import { workspacePath } from './tickets.ts';

interface View {
  readonly name: string;
  readonly state: string;
  readonly left?: unknown;
}
const name = 'my-assistant';

/** A line of shell in the sandbox. */
const inside = (instance: Instance, script: string) => instance.cli([name, 'exec', '--', '/bin/sh', '-c', script]);

/** What the host sees of the sandbox: its uid, and every socket that listens in its network. */
function footprint(pid: number): { uid: string; sockets: Set<string> } {
  const uid = /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
  const sockets = ['tcp', 'tcp6', 'udp', 'udp6'].flatMap((kind) => readFileSync(`/proc/${pid}/net/${kind}`, 'utf8').trim().split('\n').slice(1).map((line) => line.trim().split(/\s+/)[9] ?? ''));
  return { uid, sockets: new Set(sockets.filter((inode) => inode !== '0').map((inode) => `socket:[${inode}]`)) };
}

const linkOf = (path: string): string => {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // it was closed just now
  }
};

/** Processes of this uid, and descriptors anywhere on the host that hold one of these sockets. */
function remains({ uid, sockets }: ReturnType<typeof footprint>): string[] {
  return readdirSync('/proc').filter((entry) => /^\d+$/.test(entry)).flatMap((pid) => {
    try {
      const owner = /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      const open = readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`));
      return [...(owner === uid ? [`process ${pid}`] : []), ...open.filter((link) => sockets.has(link)).map((link) => `${link} of ${pid}`)];
    } catch {
      return []; // it has just ended
    }
  });
}

const answers = (socket: string): Promise<boolean> => new Promise((done) => {
  const call = connect(socket, () => {
    call.destroy();
    done(true);
  }).on('error', () => done(false));
});

/** `stop` and `start`, each as text and as JSON. */
export async function stoppedAndStarted(instance: Instance, check: Checks): Promise<void> {
  const workspace = await workspacePath(instance);
  const policy = (): Promise<unknown> => instance.json(['policy', 'get', name]);
  const before = await policy();
  for (const json of [false, true]) {
    const how = json ? ' --json' : '';
    const flags = json ? ['--json'] : [];
    const marker = `${700_000 + process.pid}${json ? 1 : 0}`;
    const server = 'import socket,sys,time\ns=socket.socket(socket.AF_UNIX); s.bind("/workspace/listener"); s.listen(9)\nt=socket.create_server(("127.0.0.1",0)); time.sleep(int(sys.argv[1]))';
    const begun = await inside(instance, `printf kept >/workspace/kept; echo evil >/workspace/.envrc; python3 -c '${server}' ${marker} >/dev/null 2>&1 </dev/null & echo begun`);
    const socket = join(workspace, 'listener');
    await until('a server in the sandbox', async () => (await answers(socket)) || undefined);
    const [pid] = pidsOf('python3 -c', marker);
    if (begun.code !== 0 || pid === undefined) throw new Error(`nothing runs in the sandbox: ${begun.out}${begun.err}`);
    const seen = footprint(pid);
    check.that(`before stop${how}: the host sees its processes and what listens in its network`, Number(seen.uid) > 0 && seen.sockets.size > 2 && remains(seen).length > seen.sockets.size, { uid: seen.uid, sockets: [...seen.sockets], now: remains(seen) });

    const result = await instance.cli([name, 'stop', ...flags]);
    const told = json ? (JSON.parse(result.out) as View) : undefined;
    check.that(`stop${how}: says so`, result.code === 0 && (told === undefined ? /my-assistant is stopped/.test(result.out) && /\.envrc/.test(result.out) : told.name === name && told.state === 'stopped' && JSON.stringify(told.left).includes('.envrc')), result);
    check.that(`stop${how}: no process of its uid lives, nothing listens for it any more`, remains(seen).length === 0 && !(await answers(socket)), remains(seen));
    const owner = statSync(workspace).uid;
    const kept = join(workspace, 'kept');
    check.that(`stop${how}: the workspace is given back: its files are its owner's, and what a shell would obey is put aside`, readFileSync(kept, 'utf8') === 'kept' && statSync(kept).uid === owner && !existsSync(join(workspace, '.envrc')) && existsSync(join(workspace, '.nemoclaw-quarantine')), readdirSync(workspace));
    check.that(`stop${how}: it is there, stopped, with the same policy`, (await instance.json<View[]>(['list'])).some((one) => one.name === name && one.state === 'stopped') && JSON.stringify(await policy()) === JSON.stringify(before), await policy());
    const none = await inside(instance, 'echo ran >/workspace/ran');
    check.that(`stop${how}: nothing runs in it`, none.code !== 0 && !existsSync(join(workspace, 'ran')), none);

    writeFileSync(kept, 'by its owner');
    const again = await instance.cli([name, 'start', ...flags]);
    check.that(`start${how}: says so`, again.code === 0 && (json ? (JSON.parse(again.out) as View).state === 'running' : /my-assistant is running/.test(again.out)), again);
    const runs = await inside(instance, 'cat /workspace/kept; printf again >/workspace/kept; cat /etc/shadow; curl -sS -m 20 https://elsewhere.example/');
    check.that(`start${how}: a command runs in it, in the same workspace, under the same policy`, runs.out === 'by its owner' && readFileSync(kept, 'utf8') === 'again' && runs.code !== 0 && /\/etc\/shadow/.test(runs.err) && JSON.stringify(await policy()) === JSON.stringify(before), { runs, policy: await policy() });
    for (const left of ['kept', 'listener', '.nemoclaw-quarantine']) rmSync(join(workspace, left), { recursive: true, force: true });
  }
}
