/** Generated policies, and operations for each: every verdict, every kind of place, the ruled folders themselves and names around them. */
import fc from 'fast-check';
import { loadSandboxPolicy, type SandboxPolicy } from '@nemoclaw/contract';
import type { ExplainOp, ExplainQuery } from '@nemoclaw/openshell';

/** Folders of the workspace that are laid out before the sandbox starts. */
export const folders = ['/workspace', '/workspace/a', '/workspace/a/b', '/workspace/a/b/c', '/workspace/d', '/workspace/d/e', '/workspace/d/e/f', '/workspace/g'] as const;
/** Files that rules may name. */
export const ruledFiles = ['/workspace/a/one', '/workspace/d/two', '/workspace/g/three'] as const;
/** Of every sandbox: what it shows of the host, what is private, what is not there. */
const elsewhere = ['/usr/bin/grep', '/bin/cat', '/etc/hostname', '/etc/passwd', '/root/.profile', '/srv/x', '/home/someone/x', '/proc/version'] as const;

export type AskedOp = 'delete' | 'rename' | 'write' | 'create' | 'read' | 'exec' | 'connect';

export interface Operation extends ExplainQuery {
  /** What must be there before: nothing for a name that is made. */
  readonly needs: 'file' | 'program' | 'folder' | 'socket' | 'nothing';
}

export interface Case {
  /** `spec` of the policy, in YAML's flow style. */
  readonly spec: string;
  readonly policy: SandboxPolicy;
  readonly operations: readonly Operation[];
}

export interface Wanted {
  readonly seed: number;
  readonly policies: number;
  /** Of each policy. */
  readonly operations: number;
  /** What escalate rules may be about; [] for none. */
  readonly asked: readonly AskedOp[];
  /** False where policies with `process.exec.allow` are refused. */
  readonly execRules: boolean;
}

/** The program that does the operations must be able to start. */
export const programs = '/workspace/run';

const place = fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...folders.slice(1)) }, { weight: 2, arbitrary: fc.constantFrom(...ruledFiles) });
const isFile = (path: string): boolean => (ruledFiles as readonly string[]).includes(path);
const pattern = (path: string): string => (isFile(path) ? path : `${path}/**`);

interface Drawn {
  readonly level: string;
  readonly calls: string;
  readonly rules: readonly { readonly path: string; readonly field: 'readOnly' | 'readWrite' | 'deny' }[];
  readonly asks: readonly { readonly path: string; readonly on: readonly AskedOp[] }[];
  readonly gone: readonly string[];
  readonly runs: readonly string[];
}

function specOf({ level, calls, rules, asks, gone, runs }: Drawn): string {
  const list = (field: string): string => `${field}: [${rules.filter((rule) => rule.field === field).map((rule) => pattern(rule.path)).join(', ')}]`;
  const escalate = asks.map(({ path, on }) => `{ path: ${pattern(path)}, on: [${on.join(', ')}] }`).join(', ');
  const exec = runs.length === 0 ? '' : `, process: { exec: { allow: [${[`${programs}/**`, ...runs].join(', ')}] } }`;
  return `isolation: { network: none, filesystem: ${level}, syscalls: ${calls} }, filesystem: { ${list('readOnly')}, ${list('readWrite')}, ${list('deny')}, escalate: [${escalate}] }, syscalls: { deny: [${gone.join(', ')}] }${exec}`;
}

/** Not a denied file where reading is asked about: outside tier A a person is asked in vain about it (docs/limits.md). */
function specs({ asked, execRules }: Wanted): fc.Arbitrary<string> {
  const ask = fc.record({ path: place, on: asked.length === 0 ? fc.constant([]) : fc.uniqueArray(fc.constantFrom(...asked), { minLength: 1, maxLength: 3 }) });
  return fc
    .record({
      level: fc.constantFrom('read-only', 'workspace'),
      calls: fc.constantFrom('minimal', 'standard'),
      rules: fc.uniqueArray(fc.record({ path: place, field: fc.constantFrom('readOnly' as const, 'readWrite' as const, 'deny' as const) }), { maxLength: 4, selector: (rule) => rule.path }),
      asks: asked.length === 0 ? fc.constant([]) : fc.uniqueArray(ask, { maxLength: 3, selector: (one) => one.path }),
      gone: fc.oneof({ weight: 4, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.constantFrom(['link', 'linkat'], ['truncate'], ['mkdir', 'mkdirat']) }),
      runs: execRules ? fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.constantFrom(['/usr/bin/**'], ['/workspace/d/**']) }) : fc.constant([]),
    })
    .map((drawn: Drawn) => specOf({ ...drawn, rules: drawn.rules.filter((rule) => !(rule.field === 'deny' && isFile(rule.path) && drawn.asks.some((one) => one.on.includes('read') && rule.path.startsWith(one.path)))) }));
}

const needs: Readonly<Record<ExplainOp, Operation['needs']>> = { read: 'file', write: 'file', create: 'nothing', mkdir: 'nothing', delete: 'file', rename: 'file', link: 'file', truncate: 'file', chmod: 'file', exec: 'program', connect: 'socket' };
const anywhere = fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...folders) }, { weight: 1, arbitrary: fc.constantFrom('/tmp', '/home/agent') });
const ops: readonly ExplainOp[] = ['read', 'write', 'create', 'mkdir', 'delete', 'rename', 'link', 'truncate', 'chmod', 'exec', 'connect'];

/** On a name of its own in a folder, so that no operation depends on another. */
const onNames = fc.record({ op: fc.constantFrom(...ops), from: anywhere, to: anywhere, folder: fc.boolean() });

function named({ op, from, to, folder }: { op: ExplainOp; from: string; to: string; folder: boolean }, index: number): Operation {
  const two = op === 'rename' || op === 'link';
  const isFolder = folder && from.startsWith('/workspace') && (op === 'delete' || op === 'rename' || op === 'chmod');
  return { op, path: `${from}/n${index}`, ...(two ? { toPath: `${to}/t${index}` } : {}), ...(op === 'connect' && from.startsWith('/workspace') ? { listener: 'outside' as const } : {}), needs: isFolder ? 'folder' : needs[op] };
}

/** What rules name, and what is of every sandbox: only operations that leave the world as it is, whatever comes of them. */
function onKnown(policy: SandboxPolicy): Operation[] {
  const { readOnly, readWrite, deny, escalate } = policy.spec.filesystem;
  const files = [...readOnly, ...readWrite, ...deny, ...escalate.map((rule) => rule.path)].filter((path) => (ruledFiles as readonly string[]).includes(path));
  const known: Operation[] = [...new Set(files)].flatMap((path) => (['read', 'write', 'exec', 'chmod'] as const).map((op): Operation => ({ op, path, needs: 'nothing' })));
  const made: Operation[] = ['/usr/new', '/etc/new', '/opt/new', '/srv/new', '/new', '/proc/new'].flatMap((path) => (['create', 'mkdir'] as const).map((op): Operation => ({ op, path, needs: 'nothing' })));
  const others: Operation[] = elsewhere.flatMap((path) => (['read', 'write', 'delete', 'chmod', 'truncate'] as const).map((op): Operation => ({ op, path, needs: 'nothing' })));
  return [...known, ...made, ...others, ...(['/usr/bin/grep', '/bin/cat', '/etc/hostname', '/srv/x'] as const).map((path): Operation => ({ op: 'exec', path, needs: 'nothing' }))];
}

/** The same for the same arguments. */
export function casesOf(wanted: Wanted): Case[] {
  return fc.sample(specs(wanted), { seed: wanted.seed, numRuns: wanted.policies }).map((spec, i) => {
    const policy = loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: conformance }\nspec: { ${spec} }\n`, 'conformance.yaml');
    const known = fc.sample(fc.constantFrom(...onKnown(policy)), { seed: wanted.seed + i, numRuns: Math.floor(wanted.operations / 5) });
    const named_ = fc.sample(onNames, { seed: wanted.seed + i, numRuns: wanted.operations - known.length }).map(named);
    return { spec, policy, operations: [...named_, ...known] };
  });
}
