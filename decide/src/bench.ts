/** Benchmark `policy.decide`: one policy of 1,000 rules, a mix of requests, every thousandth rule of them decided by Cedar too. Run it directly to print the figures as JSON. */
import { approvalPolicySchema, catalogueSchema, emptyHistory, networkPolicySchema, sandboxPolicySchema, unlabelled, type ActionRequest, type Figure } from '@nemoclaw/contract';
import { compilePolicy } from './compile.ts';
import { decide } from './decide.ts';
import { resolveHttp, resolveTool, type CompiledPolicy } from './policy.ts';

/** 500 egress rules, 200 permissions, 200 catalogue actions, 100 triggers: 1,000 rules. */
function thousandRules(): CompiledPolicy {
  const count = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
  return compilePolicy(
    {
      role: 'bench',
      sandboxPolicy: sandboxPolicySchema.parse({
        apiVersion: 'openshell.nvidia.com/v1',
        kind: 'SandboxPolicy',
        metadata: { name: 'bench' },
        spec: { isolation: {}, permissions: { allowedAPIs: count(180).map((i) => `app${i}.read`), deniedAPIs: count(20).map((i) => `admin${i}.*`) } },
      }),
      network: networkPolicySchema.parse({
        networkPolicy: {
          name: 'bench',
          egress: {
            allow: count(450).map((i) => ({ domain: i % 3 === 0 ? `*.zone${i}.example` : `host${i}.example`, methods: ['GET', 'POST'], paths: ['/v1/**', '/health'] })),
            deny: [...count(49).map((i) => ({ domain: `host${i * 3 + 1}.example`, paths: ['/v1/admin/**'] })), { domain: '*' }],
          },
        },
      }),
      catalogue: catalogueSchema.parse({
        organization: { domains: ['acme.example'] },
        actions: count(200).map((i) => ({
          name: `app${i}.read`,
          match: [{ tool: `app${i}_read` }, { http: { host: `host${i}.example`, method: 'POST', path: '/v1/items/{id}' } }],
          attributes: { amountUsd: '$.amount / 100' },
        })),
      }),
      approvals: approvalPolicySchema.parse({ triggers: count(100).map((i) => ({ action: `app${i + 100}.read`, threshold: i % 2 === 0 ? 'always' : 'above-100-usd' })) }),
    },
    1,
  );
}

/** Requests that take every path through the tables; `cedar`: those that a Cedar rule decides. */
function mixedRequests(policy: CompiledPolicy, cedar: boolean): ActionRequest[] {
  const base = { sandbox: 'sb', role: 'bench', task: 't', labels: unlabelled, provenance: new Map(), history: emptyHistory, action: '', params: new Map<string, unknown>() };
  const out: ActionRequest[] = [];
  for (let i = 0; i < 200; i += 1) {
    const tool = cedar ? `app${101 + 2 * (i % 50)}_read` : `app${i % 100}_read`;
    out.push({ ...base, source: 'model', ...resolveTool(policy, tool, new Map([['amount', 5000 + i * 100]])), resource: { kind: 'tool', name: tool } });
    if (cedar) continue;
    for (const [host, method, path] of [[`host${i}.example`, 'GET', '/v1/a/b/c'], [`a.b.zone${i * 3}.example`, 'POST', '/v1/x'], [`host${i}.example`, 'DELETE', '/v1/x'], [`nobody${i}.example`, 'GET', '/'], [`host${i % 100}.example`, 'POST', `/v1/items/${i}`]] as const) {
      const resource = { kind: 'http' as const, host, port: 443, method, path, query: [], tls: true };
      out.push({ ...base, source: 'http', ...(resolveHttp(policy, resource, new Map()) ?? {}), resource });
    }
  }
  return out;
}

function measure(policy: CompiledPolicy, requests: readonly ActionRequest[], rounds: number): Figure {
  for (let i = 0; i < 5; i += 1) for (const request of requests) decide(policy, request);
  const times = new Float64Array(requests.length * rounds);
  let at = 0;
  for (let round = 0; round < rounds; round += 1) {
    for (const request of requests) {
      const start = performance.now();
      decide(policy, request);
      times[at] = performance.now() - start;
      at += 1;
    }
  }
  times.sort();
  return { p50: times[Math.floor(at * 0.5)] ?? 0, p99: times[Math.floor(at * 0.99)] ?? 0, unit: 'ms', n: at };
}

/** `policy.decide`: a mix in which one request of ten needs Cedar; `.table` and `.cedar`: each alone. */
export function bench(): Record<string, Figure> {
  const policy = thousandRules();
  const table = mixedRequests(policy, false);
  const cedar = mixedRequests(policy, true);
  const mixed = table.flatMap((request, i) => (i % 9 === 8 ? [request, cedar[Math.floor(i / 9) % cedar.length] ?? request] : [request]));
  return { 'policy.decide': measure(policy, mixed, 20), 'policy.decide.table': measure(policy, table, 50), 'policy.decide.cedar': measure(policy, cedar, 10) };
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(bench(), undefined, 2)}\n`);
