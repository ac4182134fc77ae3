/** Every shipped blueprint: its policy loads, has no finding, is enforced, and `decide` agrees with Cedar on requests made of its own words. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkHost, lintBundle, loadBlueprintFolder, type ActionRequest, type FileOp } from '@nemoclaw/contract';
import { decideByCedar } from './cedar-plain.ts';
import { compilePolicy } from './compile.ts';
import { decide } from './decide.ts';
import type { CompiledPolicy } from './policy.ts';
import { connectRequest, fileRequest, httpRequest, toolRequest } from './sample.test.ts';

const root = fileURLToPath(new URL('../../blueprints', import.meta.url));
const total = Number(process.env['NEMOCLAW_AGREEMENT'] ?? '5000');

const filesBelow = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(dir.length + 1));

const names = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name);

test('there are blueprints', () => assert.ok(names.length > 0));

for (const name of names) {
  const bundle = loadBlueprintFolder(`${root}/${name}`, (path) => readFileSync(path), filesBelow);
  const policy = compilePolicy(bundle, 1);

  test(`${name} has no finding and is enforced`, () => {
    assert.deepEqual(lintBundle(bundle), []);
    checkHost(bundle.sandboxPolicy, { tier: 'B' }, bundle);
  });

  test(`${name}: decide agrees with Cedar on ${total} requests`, () => {
    const plain = decideByCedar(policy);
    let allowed = 0;
    fc.assert(
      fc.property(requestsFor(policy), (make) => {
        const request = { ...make(policy), role: policy.role };
        const ours = decide(policy, request);
        assert.equal(ours.verdict, plain(request), `${JSON.stringify({ ...request, params: [...request.params] })} ${ours.reason}`);
        if (ours.verdict === 'allow') allowed += 1;
      }),
      { numRuns: total, endOnFailure: true },
    );
    assert.ok(allowed > total / 100, `${allowed} of ${total} allowed`);
  });
}

/** Requests from the hosts, paths, tools and folders that the policy names, and some it does not. */
function requestsFor(policy: CompiledPolicy): fc.Arbitrary<(policy: CompiledPolicy) => ActionRequest> {
  const { ir } = policy;
  const from = <T>(...lists: readonly (readonly T[])[]): fc.Arbitrary<T> => fc.constantFrom(...new Set(lists.flat()));
  const hosts = ir.egress.filter((r) => r.domain !== '*').map((r) => r.domain.replace('*', 'sub'));
  const paths = [...ir.egress.flatMap((r) => r.paths), ...ir.actions.flatMap((a) => a.http.map((h) => h.path))].filter((p) => p !== '').map((p) => p.replace(/\{\w+\}|\*+/g, 'x1'));
  const http = fc
    .record({ host: from([...hosts, ...hosts, ...hosts], ['other.example', 'localhost']), path: from(paths, ['/', '/other']), method: from(ir.egress.flatMap((r) => r.methods), ['GET', 'DELETE']), port: from(ir.egress.flatMap((r) => r.ports), [443]), tls: fc.boolean() })
    .map((g) => (p: CompiledPolicy) => httpRequest(p, `${g.method} ${g.tls ? 'https' : 'http'}://${g.host}:${g.port}${g.path}`, { to: 'a@acme.example', amountUsd: 5 }));
  const args = fc.record({ to: from(['a@acme.example', 'x@evil.example', '']), amountUsd: fc.integer({ min: -5, max: 500 }) }, { requiredKeys: [] });
  const tool = fc.tuple(from(ir.actions.flatMap((a) => a.tools.map((t) => t.replace('*', 'x'))), ['unknown_tool']), args).map(([name, given]) => (p: CompiledPolicy) => toolRequest(p, name, given));
  const connect = fc.tuple(from(hosts, ['other.example']), from(ir.egress.flatMap((r) => r.ports), [22]), fc.constantFrom('connect' as const, 'dns' as const)).map(([host, port, source]) => () => connectRequest(host, port, source));
  const folders = [...ir.files.escalate, ...ir.files.deny, ...ir.files.readWrite].map((r) => r.path);
  const path = fc.tuple(from(folders, ['/workspace', '/etc', '/root']), fc.constantFrom('', '/x')).map(([a, b]) => a + b);
  const file = fc.tuple(fc.constantFrom<FileOp>('read', 'write', 'create', 'delete', 'rename', 'exec'), path, fc.option(path, { nil: undefined })).map(([op, a, b]) => () => fileRequest(op, a, b));
  return fc.oneof({ weight: 4, arbitrary: http }, { weight: 2, arbitrary: tool }, connect, file);
}
