/** What the hostile program tries, tried by root against a process, a socket and files of the proof's own: each way works there, so that a refusal elsewhere means something. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../../harness/instance.ts';

export interface Attempt {
  readonly what: string;
  readonly target: string;
  readonly got: boolean;
  /** By the kernel's word that it may not, or the peer's that knows our uid. */
  readonly refused: boolean;
  readonly detail: string;
}

const program = join(import.meta.dirname, 'attempts.py');
const try_ = (input: object): Promise<Attempt[]> =>
  new Promise((done, failed) => {
    const child = spawn('/usr/bin/python3', [program], { stdio: ['pipe', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stdin.end(JSON.stringify(input));
    child.on('error', failed);
    child.on('close', (code) => {
      try {
        done(JSON.parse(out) as Attempt[]);
      } catch {
        failed(new Error(`attempts.py as root: ${code} ${out}`));
      }
    });
  });

/** Every way, by its name, with what came of it. */
export async function attemptsOfRoot(): Promise<Attempt[]> {
  const folder = mkdtempSync(join(tmpdir(), 'nca-attempts-'));
  const file = join(folder, 'file');
  writeFileSync(file, 'x');
  const server = createServer((request, response) => request.resume().on('end', () => response.end('{}')));
  const socket = join(folder, 'socket');
  // Its parent takes no notice of its end, so that it can be killed twice.
  const parent = spawn('/bin/sh', ['-c', 'sleep 600 & exec sleep 600'], { stdio: 'ignore' });
  try {
    await new Promise<void>((done) => server.listen(socket, done));
    const pid = await until('the child', () => Number(/^\d+/.exec(readFileSync(`/proc/${parent.pid}/task/${parent.pid}/children`, 'utf8'))?.[0] ?? 0) || undefined);
    await until('its program', () => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n' || undefined);
    const one = { pid, name: 'sleep' };
    const all = await try_({ sockets: [socket], gateway: socket, processes: [one], read: [file, folder], write: [file], make: [folder], become: [65534] });
    return [...all, ...(await try_({ groups: 65534 })), ...(await try_({ signals: [one] })), ...(await try_({ calls: true }))];
  } finally {
    for (const child of readFileSync(`/proc/${parent.pid}/task/${parent.pid}/children`, 'utf8').trim().split(' ')) if (child !== '') execFileSync('kill', ['-9', child], { stdio: 'ignore' });
    parent.kill('SIGKILL');
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true });
  }
}
