/** Every folder in fixtures/ is one command line against a gateway that answers from a table: what it prints, where, and its exit code. `UPDATE_GOLDEN=1` writes the outputs anew. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fakeWorld, startFakeGateway, type FakeRoutes } from './fake-gateway.ts';
import { run } from './main.ts';

interface Case extends FakeRoutes {
  readonly args: readonly string[];
  readonly tty?: boolean;
  readonly noColour?: boolean;
  readonly input?: string;
  readonly exit: number;
  /** What the gateway must have seen, where it matters. */
  readonly seen?: readonly string[];
}
const folder = new URL('fixtures/', import.meta.url).pathname;
const views: Record<string, unknown> = JSON.parse(readFileSync(join(folder, 'views.json'), 'utf8'));

/** `{"$view": "name", …}` stands for that view with the other fields laid over it. */
function filled(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(filled);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, inner]) => [key, filled(inner)] as const);
  const { $view, ...rest } = Object.fromEntries(entries);
  return typeof $view === 'string' ? { ...(filled(views[$view]) as object), ...rest } : rest;
}

const cases = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

test('there are cases', () => assert.ok(cases.length >= 20, String(cases.length)));

for (const name of cases) {
  test(`golden: ${name}`, async () => {
    const at = join(folder, name);
    const given = filled(JSON.parse(readFileSync(join(at, 'case.json'), 'utf8'))) as Case;
    const root = mkdtempSync(join(tmpdir(), 'nemoclaw-cli-'));
    const gateway = given.http || given.ws ? await startFakeGateway(join(root, 'run/nemoclaw/gateway.sock'), given) : undefined;
    try {
      const { world, stdout, stderr, exit } = fakeWorld(root, {
        cwd: at,
        ...(given.tty ? { tty: true } : {}),
        ...(given.input ? { input: given.input } : {}),
        ...(given.noColour ? { env: { NO_COLOR: '1' } } : {}),
      });
      await run(given.args, world);
      for (const [file, text] of [
        ['stdout.txt', stdout()],
        ['stderr.txt', stderr()],
      ] as const) {
        const golden = join(at, file);
        const shown = text.replaceAll(root, '$ROOT');
        if (process.env['UPDATE_GOLDEN']) {
          if (shown === '') rmSync(golden, { force: true });
          else writeFileSync(golden, shown);
        }
        assert.equal(shown, existsSync(golden) ? readFileSync(golden, 'utf8') : '', `${name}/${file}`);
      }
      assert.equal(exit(), given.exit, 'exit code');
      if (given.seen) assert.deepEqual(gateway?.seen ?? [], given.seen);
    } finally {
      await gateway?.close();
      rmSync(root, { recursive: true, force: true });
    }
  });
}
