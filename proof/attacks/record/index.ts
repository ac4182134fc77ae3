/** The record: whatever is done to it under the ledger's own uid is found by the verifier, other uids cannot touch it, and openshelld signs no record that lost events. */
import { spawnSync } from 'node:child_process';
import { chownSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Report } from '../../../ledger/src/verify.ts';
import { Checks } from '../../harness/checks.ts';
import { checkout, run, until } from '../../harness/instance.ts';
import { PrivateInstance } from '../data-plane/private-instance.ts';

/** What is done, and the findings that name it: at least one must be there. */
const changes: readonly (readonly [string, readonly string[]])[] = [
  ['edit', ['edited']],
  ['edit and seal again', ['relinked']],
  ['remove', ['removed']],
  ['reorder', ['reordered']],
  ['double', ['reordered']],
  ['cut the tail', ['tail-cut']],
  ['rewrite everything', ['rewritten']],
];

/** Runs the whole proof in an instance of its own. */
export async function record(check: Checks): Promise<void> {
  check.section('record: a real one to attack');
  await check.step('the instance', async () => {
    const p = await PrivateInstance.start({ hostile: false });
    try {
      await fill(p, check);
      await copies(p, check);
      others(p, check);
      await comesUpAgain(p, check);
    } finally {
      await p.stop();
    }
  });
}

const ledgerOf = (p: PrivateInstance): string => join(p.instance.state, 'ledger');
const checkpointsOf = (p: PrivateInstance): string => join(p.instance.state, 'checkpoints');

/** Denials, a held deletion and its end: what somebody would like to be forgotten. */
async function fill(p: PrivateInstance, check: Checks): Promise<void> {
  // Signatures come as often as openshelld gives them: one is waited for after each part, so that there are several.
  const signed = () => until('a checkpoint of all of it', () => (lastSigned(checkpointsOf(p)) >= p.records().length ? true : undefined));
  await p.sandbox('alpha');
  await signed();
  await p.exec('alpha', ['curl', '-s', '-m', '5', 'http://elsewhere.example/']);
  await signed();
  const deletion = p.exec('alpha', ['rm', '/workspace/keep/kept.txt']);
  const { id } = await until('a held deletion', async () => (await p.approvals()).find(({ state }) => state === 'waiting'));
  await p.cli(['approvals', 'deny', id]);
  await deletion;
  await signed();
  check.that('there is something in it to be forgotten', p.records().length > 8, p.records().map(({ message }) => message));
  const whole = await p.cli(['audit', 'verify', '--json']);
  const report = JSON.parse(whole.out) as Report;
  check.that('the record that was written is whole, and signed', whole.code === 0 && report.ok && report.checkpoints.signed > 2, whole.out + whole.err);
}

function lastSigned(checkpoints: string): number {
  const lines = readFileSync(join(checkpoints, 'checkpoints.jsonl'), 'utf8').split('\n').filter((line) => line.endsWith('}'));
  return lines.length === 0 ? 0 : (JSON.parse(lines.at(-1) ?? '') as { count: number }).count;
}

/** As a service's uid, with no group but its own. */
function tamper(p: PrivateInstance, role: 'gateway' | 'worker' | 'ledger', how: string, dir: string, count = 0): { readonly worked: boolean; readonly said: string } {
  const { uid, gid } = p.identities.users[role];
  const program = join(p.lib, 'proof/attacks/record/tamper.ts');
  const result = spawnSync('setpriv', [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', join(p.instance.root, 'opt/nemoclaw/node/bin/node'), program, how, dir, String(count)], { encoding: 'utf8', cwd: '/', env: { PATH: '/usr/bin:/bin' } });
  return { worked: result.status === 0, said: result.stderr.split('\n').find((line) => line.includes('Error')) ?? result.stderr };
}

async function copies(p: PrivateInstance, check: Checks): Promise<void> {
  check.section('record: changed under the ledger’s own uid');
  const { uid, gid } = p.identities.users.ledger;
  const here = join(p.lib, 'proof/attacks/record');
  mkdirSync(here, { recursive: true });
  cpSync(join(import.meta.dirname, 'tamper.ts'), join(here, 'tamper.ts'));
  for (const [how, findings] of [['leave as it is', []] as const, ...changes]) {
    const root = join(p.instance.root, `copy-${how.replaceAll(' ', '-')}`);
    const state = join(root, 'var/lib/nemoclaw');
    mkdirSync(join(root, 'opt'), { recursive: true });
    symlinkSync(join(p.instance.root, 'opt/nemoclaw'), join(root, 'opt/nemoclaw'));
    // checkpoints first: the record may then only be longer than what they sign
    cpSync(checkpointsOf(p), join(state, 'checkpoints'), { recursive: true, preserveTimestamps: true });
    cpSync(ledgerOf(p), join(state, 'ledger'), { recursive: true, filter: (source) => !source.endsWith('.sock') });
    for (const name of ['', ...readdirSync(join(state, 'ledger'))]) chownSync(join(state, 'ledger', name), uid, gid);
    const signed = lastSigned(join(state, 'checkpoints'));
    const records = readFileSync(join(state, 'ledger/events-0000000000000001.jsonl'), 'utf8').split('\n').length - 1;
    if (findings.length > 0) {
      const done = tamper(p, 'ledger', how, join(state, 'ledger'), how === 'cut the tail' ? signed - 1 : records);
      if (!done.worked) check.that(`${how}: is done`, false, done.said);
    }
    const verifier = await run(process.execPath, [join(checkout, 'ledger/src/verify-main.ts'), '--ledger', join(state, 'ledger'), '--checkpoints', join(state, 'checkpoints'), '--json']);
    const command = await run(process.execPath, [join(p.lib, 'cli/bin/nemoclaw.js'), 'audit', 'verify', '--json'], { env: { NEMOCLAW_ROOT: root, NO_COLOR: '1' } });
    for (const [who, result] of [['the verifier', verifier], ['nemoclaw audit verify', command]] as const) {
      const report = JSON.parse(result.out || '{"findings":[]}') as Report;
      if (findings.length === 0) check.that(`${who} finds a copy whole that nobody touched`, result.code === 0 && report.ok, result.out + result.err);
      else check.that(`${how}: ${who} says ${findings.join(', ')}`, result.code === 1 && report.findings.some(({ kind }) => findings.includes(kind)), result.out + result.err);
    }
    rmSync(root, { recursive: true, force: true });
  }
}

/** The real files, as those who must not touch them. */
function others(p: PrivateInstance, check: Checks): void {
  check.section('record: out of reach of the others');
  const ledger = ledgerOf(p);
  const file = join(ledger, 'events-0000000000000001.jsonl');
  const before = { ino: statSync(file).ino, head: readFileSync(file).subarray(0, 4096).toString() };
  for (const role of ['gateway', 'worker'] as const) {
    for (const [how] of changes) {
      const done = tamper(p, role, how, ledger, 3);
      check.that(`${how} as the ${role}'s uid: refused by the files’ owner and mode`, !done.worked && /EACCES/.test(done.said), done.said);
    }
  }
  check.that('the record is the same file with the same beginning', statSync(file).ino === before.ino && readFileSync(file).subarray(0, 4096).toString() === before.head);
  const script = 'import json,os,sys\nout={}\nfor path in sys.argv[1:]:\n  for name,flags in (("read",os.O_RDONLY),("append",os.O_WRONLY|os.O_APPEND)):\n    try:\n      os.open(path,flags); out[path+" "+name]=True\n    except OSError as e: out[path+" "+name]=e.errno\n  try:\n    os.rename(path,path+".away"); out[path+" rename"]=True\n  except OSError as e: out[path+" rename"]=e.errno\nprint(json.dumps(out))';
  const keys = ['secret.key', 'public.key', 'checkpoints.jsonl'].map((name) => join(checkpointsOf(p), name));
  for (const role of ['ledger', 'gateway', 'worker'] as const) {
    const { uid, gid } = p.identities.users[role];
    const tried = spawnSync('setpriv', [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '/usr/bin/python3', '-c', script, ...keys, checkpointsOf(p)], { encoding: 'utf8', cwd: '/' });
    const results = Object.entries(JSON.parse(tried.stdout || '{}') as Record<string, unknown>);
    check.that(`checkpoints and their key as the ${role}'s uid: ${results.length} tries to read, write and rename, none worked`, results.length === 12 && results.every(([, result]) => result !== true), tried.stdout + tried.stderr);
  }
}

/** The writer dies, somebody with its uid puts a shorter record in its place, and the writer comes up over it. */
async function comesUpAgain(p: PrivateInstance, check: Checks): Promise<void> {
  check.section('record: rewritten while the ledger was down');
  const signedBefore = lastSigned(checkpointsOf(p));
  const ledger = p.pidOf('ledger');
  process.kill(ledger, 'SIGSTOP');
  const done = tamper(p, 'ledger', 'rewrite everything', ledgerOf(p), 3);
  process.kill(ledger, 'SIGKILL');
  check.that('the whole record is another one, with three events', done.worked, done.said);
  const refused = await p.recorded(({ unmapped, message }) => unmapped.source.name === 'openshelld' && unmapped.layer === 'openshelld' && /refused: fewer events than were signed/.test(message));
  check.that('openshelld does not sign it, and says on record that somebody rewrote it', refused, p.records().slice(-6));
  const own = await p.recorded(({ unmapped }) => unmapped.data?.['kind'] === 'checkpoint.refused');
  check.that('the ledger says on record that it was not signed', own, p.records().slice(-6));
  check.that('what was signed before stays', lastSigned(checkpointsOf(p)) >= signedBefore);
  const verified = await p.cli(['audit', 'verify', '--json']);
  const kinds = (JSON.parse(verified.out || '{"findings":[]}') as Report).findings.map(({ kind }) => kind);
  check.that('nemoclaw audit verify says tail-cut or rewritten', verified.code === 1 && kinds.some((kind) => kind === 'tail-cut' || kind === 'rewritten'), verified.out + verified.err);
}

if (import.meta.main) {
  const check = new Checks();
  await record(check);
  process.exit(check.close());
}
