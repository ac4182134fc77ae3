/** Processes, descriptors, memory and the ring of seen calls run out, in the sandbox and in openshelld itself. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SeenReport } from '@nemoclaw/contract';
import type { Checks } from '../harness/checks.ts';
import { until } from '../harness/instance.ts';
import { Scene, spec } from './scene.ts';

const python = (code: string): readonly string[] => ['/usr/bin/python3', '-c', code];

export async function exhaustion(check: Checks): Promise<void> {
  const scene = await Scene.open(check, { resources: 'maxPids: 40, maxOpenFiles: 64' });
  try {
    await processes(scene);
    await descriptors(scene);
    await descriptorsOfOpenshelld(scene);
    await memory(scene);
    await ring(scene);
  } finally {
    await scene.destroy();
  }
}

/** `go`, a file in the workspace, ends what `code` has taken. */
async function whileTaken(scene: Scene, code: string, then: (taken: number) => Promise<void>): Promise<string> {
  const [taken, go] = ['taken', 'go'].map((name) => join(scene.folder, name)) as [string, string];
  const out = scene.run(...python(`import os, time\nos.chdir('/workspace')\n${code}\nwith open('taken.new', 'w') as f: f.write(str(n))\nos.rename('taken.new', 'taken')\nwhile not os.path.exists('go'): time.sleep(0.01)\n`));
  out.catch(() => undefined);
  await until('what is taken', () => (existsSync(taken) ? true : undefined));
  await then(Number(readFileSync(taken, 'utf8')));
  writeFileSync(go, '');
  const { stderr } = await out;
  for (const name of ['taken', 'go']) execFileSync('rm', ['-f', join(scene.folder, name)]);
  return stderr;
}

async function processes(scene: Scene): Promise<void> {
  const { check } = scene;
  check.section('no process is left to the sandbox');
  const waiting = await scene.waiting('pids');
  const bomb = `n = 0\nf = open('taken.new', 'w'); f.close()\nwhile True:\n  try: p = os.fork()\n  except OSError: break\n  if p == 0:\n    while not os.path.exists('go'): time.sleep(0.01)\n    os._exit(0)\n  n += 1`;
  const said = await whileTaken(scene, bomb, async (taken) => {
    check.that('the bomb ends at the limit', taken > 5 && taken < 40, taken);
    const more = await scene.run('/bin/true').then((ran) => `ran: ${ran.code}`, (error: Error) => error.message);
    check.that('one more command is refused, not stuck', !more.startsWith('ran: 0'), more);
    await scene.stayedShut('no process left');
    await scene.answer(waiting, 'allow');
    await scene.ended('no process left', waiting, 'done');
  });
  check.that('the bomb ends', said === '', said);
  const after = await until('a command', async () => ((await scene.run('/bin/true').catch(() => undefined))?.code === 0 ? true : undefined)).catch(() => false);
  check.that('then commands run again', after === true);
}

async function descriptors(scene: Scene): Promise<void> {
  const { check } = scene;
  check.section('no descriptor is left to a process of the sandbox');
  const hoard = `import errno\nfds = []\nwhile True:\n  try: fds.append(os.open('/usr/bin/env', os.O_RDONLY))\n  except OSError as e: break\nn = len(fds)\nwhy = ''\ntry: os.unlink('prod/descriptors')\nexcept OSError as e: why = e.strerror\nos.close(fds.pop())`;
  writeFileSync(join(scene.folder, 'prod/descriptors'), '');
  const gateway = await scene.gateway();
  const answered = gateway.saw('hold', (m) => m.hold.path === '/workspace/prod/descriptors').then((m) => gateway.call('answerHold', 'agent', m.hold.holdId, 'deny'));
  await whileTaken(scene, hoard, async (taken) => {
    check.that('the limit holds', taken > 30 && taken < 64, taken);
    await answered;
    check.that('its deletion was held all the same, and denied', existsSync(join(scene.folder, 'prod/descriptors')));
    await scene.stayedShut('no descriptor left');
  });
}

async function descriptorsOfOpenshelld(scene: Scene): Promise<void> {
  const { check, instance } = scene;
  check.section('no descriptor is left to openshelld');
  const gateway = await scene.gateway();
  const waiting = await scene.waiting('before');
  const daemon = instance.daemonPid;
  const open = (): number => readdirSync(`/proc/${daemon}/fd`).length;
  const before = open();
  const limit = (files: string): void => void execFileSync('prlimit', ['--pid', String(daemon), `--nofile=${files}`]);
  const usual = /^Max open files +(\d+)/m.exec(readFileSync(`/proc/${daemon}/limits`, 'utf8'))?.[1] ?? '1024';
  // Only the soft limit; below what is in use: no new one can be had.
  limit('3:');
  const made = await gateway.call('create', 'second', instance.plan(spec()), scene.registration, 'worker:1').then(() => 'made', (error: Error) => error.message);
  check.that('a new sandbox is refused with a reason', made !== 'made' && made.length > 0, made);
  const ran = await scene.run('/bin/true').then(() => 'ran', (error: Error) => error.message);
  check.that('a new command is refused with a reason', ran !== 'ran' && ran.length > 0, ran);
  await scene.stayedShut('openshelld without descriptors');
  check.that('the deletion still waits', existsSync(waiting.file) && waiting.answer() === undefined, waiting.answer());
  await scene.answer(waiting, 'deny').catch(() => undefined);
  limit(`${usual}:`);
  await scene.ended('openshelld without descriptors', waiting, 'Operation not permitted');
  const again = await until('a command', async () => ((await scene.run('/bin/true').catch(() => undefined))?.code === 0 ? true : undefined)).catch(() => false);
  check.that('then commands run again, in the same openshelld', again === true && instance.daemonPid === daemon);
  const left = await until('closed descriptors', () => (open() <= before + 2 ? true : undefined)).catch(() => open());
  check.that('and it keeps none open', left === true, { before, left });
}

async function memory(scene: Scene): Promise<void> {
  const { check, instance } = scene;
  check.section('no memory is left to a sandbox');
  const gateway = await scene.gateway();
  const own = await instance.workspace('tight');
  await gateway.call('create', 'tight', instance.plan(spec('maxMemory: 96Mi')), own.id, 'worker:1');
  const hog = await gateway.run('tight', 'hog', [...python("b = bytearray()\nwhile True: b += bytes(4 << 20)")]).catch(() => ({ signal: 'gone' }));
  check.that('who takes more is killed', hog.signal === 'SIGKILL' || hog.signal === 'gone', hog);
  await scene.stayedShut('another sandbox without memory');
  await gateway.call('destroy', 'tight').catch(() => undefined);
  check.that('its control groups are gone', instance.leftovers().every((path) => !readdirSync(path).includes('tight')));
}

async function ring(scene: Scene): Promise<void> {
  const { check, instance } = scene;
  check.section('the ring of seen calls is full');
  const gateway = await scene.gateway();
  const waiting = await scene.waiting('ring');
  const counted = async (): Promise<SeenReport> => (await gateway.call('seen', 'agent')) as SeenReport;
  const sum = (report: SeenReport): number => (report.counts['truncate'] ?? []).reduce((all, one) => all + one, 0);
  const before = await counted();
  const flood = scene.run(...python("import os, time\nopen('/workspace/ready', 'w').close()\nwhile not os.path.exists('/workspace/flood'): time.sleep(0.01)\nn = 0; end = time.monotonic() + 2\nwhile time.monotonic() < end:\n  try: os.truncate('/workspace/fixed/a', 0)\n  except OSError: n += 1\nopen('/workspace/flooded', 'w').close(); print(n)"));
  flood.catch(() => undefined);
  await until('the program', () => (existsSync(join(scene.folder, 'ready')) ? true : undefined));
  const daemon = instance.daemonPid;
  process.kill(daemon, 'SIGSTOP');
  try {
    writeFileSync(join(scene.folder, 'flood'), '');
    await until('the flood', () => (existsSync(join(scene.folder, 'flooded')) ? true : undefined));
    // Its deletions and creations are openshelld's to answer, so the agent itself may wait with it.
    check.that('openshelld stopped, the ring full: nothing opened', scene.score()?.opened.length === 0, scene.score());
  } finally {
    process.kill(daemon, 'SIGCONT');
  }
  const refused = Number((await flood).stdout);
  await scene.stayedShut('the ring full');
  const after = await counted();
  check.that(`all ${refused} refused calls are counted, and ${after.withheld + after.ringFull} that were not told one by one are said to be`, refused > 1000 && sum(after) - sum(before) === refused && after.withheld + after.ringFull > 0, { refused, before: before.counts['truncate'], after: after.counts['truncate'], withheld: after.withheld, ringFull: after.ringFull });
  await scene.answer(waiting, 'deny');
  await scene.ended('ring', waiting, 'Operation not permitted');
}
