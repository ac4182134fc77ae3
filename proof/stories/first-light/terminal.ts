/** The person at another terminal: the installed `nemoclaw` of an instance, and what it says about approvals. */
import { request } from 'node:http';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { run, until, type Instance, type Result } from '../../harness/instance.ts';
import type { Company } from './company.ts';

export interface Approval {
  readonly id: string;
  readonly sandbox: string;
  readonly state: string;
  readonly kind: string;
  readonly action: string;
  readonly decidedAt: number | null;
  readonly by: string;
  readonly reason: string;
  readonly held: boolean;
  readonly effect: string;
  readonly card: { readonly summary: string; readonly detail: string };
}
export interface Grant {
  readonly approvalId: string;
  readonly state: string;
}

export class Terminal {
  readonly #instance: Instance;

  constructor(instance: Instance) {
    this.#instance = instance;
  }

  /** One command line, to its end. */
  run(args: readonly string[], timeoutMs = 180_000): Promise<Result> {
    return run(join(this.#instance.root, 'opt/nemoclaw/bin/nemoclaw'), args, { env: this.#instance.env, timeoutMs });
  }

  /** The same with --json; throws if the answer is not JSON. */
  async json<T>(args: readonly string[]): Promise<T> {
    const result = await this.run([...args, '--json']);
    try {
      return JSON.parse(result.out) as T;
    } catch {
      throw new Error(`nemoclaw ${args.join(' ')} --json gave no JSON (exit ${result.code}):\n${result.out}\n${result.err}`);
    }
  }

  /** A sandbox of the installed blueprint `name` with the company's model. Throws with what the program said. */
  async make(name: string, company: Company): Promise<string> {
    const made = await this.run(['onboard', '--yes', '--name', name, '--blueprint', name, '--provider', 'compatible', '--endpoint', company.modelEndpoint, '--model', 'scripted'], 120_000);
    if (made.code !== 0) throw new Error(`onboard ${name}: ${made.out}${made.err}`);
    return join(this.#instance.root, 'workspaces', name);
  }

  /** Takes a sandbox, its blueprint and its workspace away. */
  async unmake(name: string): Promise<void> {
    await this.run([name, 'destroy']);
    for (const folder of [join(this.#instance.root, 'workspaces', name), join(this.#instance.state, 'blueprints', name)]) rmSync(folder, { recursive: true, force: true });
  }

  /** A command in the sandbox. */
  exec(name: string, argv: readonly string[], timeoutMs = 180_000): Promise<Result> {
    return this.run([name, 'exec', '--', ...argv], timeoutMs);
  }

  /** What `approvals list` shows first of the waiting ones whose summary has `text`. */
  waiting(text: string): Promise<Approval> {
    return until(`a question about ${text}`, async () => (await this.json<Approval[]>(['approvals', 'list'])).find((one) => one.card.summary.includes(text)));
  }

  approve(id: string): Promise<Result> {
    return this.run(['approvals', 'approve', id]);
  }
  deny(id: string): Promise<Result> {
    return this.run(['approvals', 'deny', id, '--reason', 'not today']);
  }
  show(id: string): Promise<Approval> {
    return this.json(['approvals', 'show', id]);
  }

  /** The gateway's HTTP API, for what a person could not type fast enough. Resolves with the parsed answer. */
  api<T>(method: string, path: string, body?: unknown): Promise<T> {
    return new Promise((done, failed) => {
      const call = request({ socketPath: join(this.#instance.runDir, 'gateway.sock'), method, path, headers: { 'content-type': 'application/json' }, timeout: 30_000 }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        answer.on('error', failed);
        answer.on('end', () => {
          if (answer.statusCode !== undefined && answer.statusCode < 300) done((text === '' ? undefined : JSON.parse(text)) as T);
          else failed(new Error(`${method} ${path}: ${answer.statusCode} ${text}`));
        });
      });
      call.on('timeout', () => call.destroy(new Error(`${method} ${path}: no answer`)));
      call.on('error', failed);
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

/** Arguments of curl in a sandbox: the body, then the status on a line of its own. */
export function curl(method: string, url: string, body?: unknown): string[] {
  return ['curl', '-sS', '-m', '90', '-w', '\n%{http_code}', '-X', method, ...(body === undefined ? [] : ['-H', 'content-type: application/json', '-d', JSON.stringify(body)]), url];
}

/** The status that `curl` printed; 0 where there was none. */
export function statusOf(result: Result): number {
  return Number(result.out.trim().split('\n').at(-1) ?? 0) || 0;
}
