/** For tests: an instance for all tests of a block, and a sandbox over a folder of an ordinary person whose layer is kept. */
import assert from 'node:assert/strict';
import { chmodSync, lchownSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before } from 'node:test';
import type { LaunchPlan, LayerDiff } from '@nemoclaw/contract';
import { TestInstance, testUids, type TestService } from './openshelld-test-instance.ts';

/** To be called in a `describe`: starts an instance before its tests and stops it after them; `take` gets it. */
export function oneInstance(take: (instance: TestInstance, gateway: TestService) => void): void {
  let instance: TestInstance | undefined;
  before(async () => {
    instance = await TestInstance.start();
    take(instance, await instance.service('gateway'));
  });
  after(async () => {
    await instance?.stop();
  });
}

/** What a diff says, one word each, in order. */
export const told = (diff: LayerDiff): string[] => diff.changes.map((one) => `${one.change} ${one.type} ${one.path}`).sort();

let made = 0;

export class LayerWork {
  readonly id = `l${(made += 1)}`;
  readonly path = mkdtempSync(join(tmpdir(), 'nemoclaw-layer-'));
  init = 0;
  readonly #instance: TestInstance;
  readonly #gateway: TestService;
  #registration = '';
  #runs = 0;

  private constructor(instance: TestInstance, gateway: TestService) {
    this.#instance = instance;
    this.#gateway = gateway;
  }

  /** The folder, with `files` (each holds its name; `link` is one to `kept`), is registered; nothing runs yet. */
  static async over(instance: TestInstance, gateway: TestService, files: readonly string[]): Promise<LayerWork> {
    const work = new LayerWork(instance, gateway);
    const names = new Set(['']);
    chmodSync(work.path, 0o755);
    for (const file of files) {
      mkdirSync(join(work.path, dirname(file)), { recursive: true });
      if (file === 'link') symlinkSync('kept', join(work.path, file));
      else writeFileSync(join(work.path, file), `${file}\n`);
      for (let name = file; name !== '.'; name = dirname(name)) names.add(name);
    }
    for (const name of names) lchownSync(join(work.path, name), testUids.person, testUids.person);
    const reply = await instance.register(work.path, testUids.person);
    assert.ok(reply.ok, JSON.stringify(reply));
    work.#registration = reply.id;
    return work;
  }

  /** `more`: parts of the policy, e.g. `, resources: { maxDisk: 8Mi }`. */
  async start(more = ''): Promise<void> {
    await this.launch(this.plan(more));
  }

  plan(more = ''): LaunchPlan {
    return this.#instance.plan(`isolation: { network: none, filesystem: workspace, syscalls: standard }, filesystem: { overlay: true }${more}`);
  }

  async launch(plan: LaunchPlan): Promise<void> {
    this.init = ((await this.#gateway.call('create', this.id, plan, this.#registration, '')) as { readonly init: number }).init;
  }

  /** In the workspace; what it printed. It must succeed. */
  async sh(script: string): Promise<string> {
    const run = await this.#gateway.run(this.id, `${this.id}-${(this.#runs += 1)}`, ['/bin/sh', '-c', `cd /workspace; ${script}`]);
    assert.equal(run.code, 0, run.stderr);
    return run.stdout;
  }

  async stop(): Promise<void> {
    await this.#gateway.call('destroy', this.id);
  }

  async layer<T>(op: string, name = ''): Promise<T> {
    return (await this.#gateway.call('layer', this.id, op, name)) as T;
  }
}
