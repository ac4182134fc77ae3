/** An instance with one sandbox in which an agent never stops trying, and what can be seen of it from outside. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CreateResult, SyscallHold } from '@nemoclaw/contract';
import { TestInstance, type TestService } from '../../layers/openshell/src/openshelld-test-instance.ts';
import type { Checks } from '../harness/checks.ts';
import { until } from '../harness/instance.ts';

export const spec = (resources = ''): string =>
  `isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { readOnly: [/workspace/fixed], deny: [/workspace/keys/**], escalate: [{ path: /workspace/prod/**, on: [delete] }] }, auditLog: { syscalls: counts }, enforcement: best-effort${resources === '' ? '' : `, resources: { ${resources} }`}`;

export interface Score {
  readonly rounds: number;
  readonly worked: number;
  readonly failed: number;
  readonly opened: readonly string[];
}
/** A deletion that waits for a person, in a process of its own. */
export interface Waiting {
  readonly file: string;
  readonly hold: SyscallHold;
  /** What the call ended with, as the agent says it; undefined while it waits. */
  answer(): string | undefined;
}

export class Scene {
  readonly check: Checks;
  readonly instance: TestInstance;
  readonly folder: string;
  readonly registration: string;
  made: CreateResult;
  #execs = 0;

  private constructor(check: Checks, instance: TestInstance, workspace: { path: string; id: string }, made: CreateResult) {
    this.check = check;
    this.instance = instance;
    this.folder = workspace.path;
    this.registration = workspace.id;
    this.made = made;
  }

  static async open(check: Checks, options: { readonly holdSeconds?: number; readonly resources?: string } = {}): Promise<Scene> {
    const instance = await TestInstance.start({ holdSeconds: options.holdSeconds ?? 30, testing: false });
    try {
      const workspace = await instance.workspace('project');
      for (const name of ['prod', 'fixed', 'keys']) mkdirSync(join(workspace.path, name));
      for (const name of ['fixed/a', 'keys/secret', 'room']) writeFileSync(join(workspace.path, name), name.padEnd(64));
      copyFileSync(new URL('watcher.py', import.meta.url), join(workspace.path, 'watcher.py'));
      const gateway = await instance.service('gateway');
      const made = (await gateway.call('create', 'agent', instance.plan(spec(options.resources)), workspace.id, 'worker:1')) as CreateResult;
      const scene = new Scene(check, instance, workspace, made);
      await scene.start('/usr/bin/python3', '/workspace/watcher.py', String(instance.daemonPid));
      await until('the agent', () => ((scene.score()?.rounds ?? 0) > 2 ? true : undefined));
      return scene;
    } catch (error) {
      await instance.stop();
      throw error;
    }
  }

  gateway(): Promise<TestService> {
    return this.instance.service('gateway');
  }

  score(): Score | undefined {
    try {
      return JSON.parse(readFileSync(join(this.folder, 'score'), 'utf8')) as Score;
    } catch {
      return undefined; // read while it was written
    }
  }

  async start(...argv: string[]): Promise<void> {
    this.#execs += 1;
    await (await this.gateway()).call('exec', 'agent', `e${this.#execs}`, { argv, env: ['PATH=/usr/bin:/bin'], cwd: '/workspace', tty: null });
  }

  run(...argv: string[]): ReturnType<TestService['run']> {
    this.#execs += 1;
    return this.gateway().then((gateway) => gateway.run('agent', `e${this.#execs}`, argv));
  }

  /** Begins a deletion; resolves when a person is asked. */
  async waiting(name: string): Promise<Waiting> {
    const file = join(this.folder, 'prod', name);
    writeFileSync(file, name);
    await this.start('/usr/bin/python3', '-c', `import os\nn = '${name}'\ns = open('/workspace/' + n + '.said', 'w')\ntry:\n  os.unlink('/workspace/prod/' + n); s.write('done')\nexcept OSError as e:\n  s.write(e.strerror)\ns.close()`);
    const gateway = await this.gateway();
    const { hold } = await gateway.saw('hold', (m) => m.hold.path === `/workspace/prod/${name}`);
    return { file, hold, answer: () => (existsSync(join(this.folder, `${name}.said`)) ? readFileSync(join(this.folder, `${name}.said`), 'utf8') || undefined : undefined) };
  }

  async answer(waiting: Waiting, verdict: 'allow' | 'deny'): Promise<unknown> {
    return (await this.gateway()).call('answerHold', 'agent', waiting.hold.holdId, verdict);
  }

  /** The agent went on meanwhile, opened nothing, and what it may do works (again). */
  async stayedShut(what: string): Promise<void> {
    const from = this.score()?.rounds ?? 0;
    const now = await until(`the agent after: ${what}`, () => {
      const score = this.score();
      return score !== undefined && score.rounds > from + 8 ? score : undefined;
    }).catch(() => this.score());
    this.check.that(`${what}: the agent goes on and opened nothing`, now !== undefined && now.rounds > from + 8 && now.opened.length === 0, now);
  }

  /** Its deletion comes to `end`, and its file is there only if it was not done. */
  async ended(what: string, waiting: Waiting, end: 'done' | 'Operation not permitted'): Promise<void> {
    const said = await until(`the end of ${waiting.hold.path}`, () => waiting.answer()).catch(() => 'nothing');
    this.check.that(`${what}: the held call ends: ${end}`, said === end && existsSync(waiting.file) === (end !== 'done'), { said, there: existsSync(waiting.file) });
  }

  /** Processes of the sandbox: everything below its init. */
  processes(): number[] {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const parents = new Map(pids.map((pid) => [Number(pid), Number(/^PPid:\t(\d+)$/m.exec(text(`/proc/${pid}/status`))?.[1] ?? 0)]));
    const below = (pid: number): boolean => pid === this.made.init || (pid > 1 && below(parents.get(pid) ?? 0));
    return [...parents.keys()].filter(below);
  }

  async destroy(): Promise<void> {
    await this.instance.stop();
    this.check.that('nothing is left', !existsSync(this.instance.root) && this.instance.leftovers().length === 0 && this.processes().length === 0, { groups: this.instance.leftovers(), processes: this.processes() });
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
