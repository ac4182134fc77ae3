/** What the policy in force would decide; nothing happens and nothing is put on record. */
import { NemoError, unlabelled, type ActionRequest, type FileOp, type Explained, type explainSchema } from '@nemoclaw/contract';
import { ruleRef } from '@nemoclaw/openshell';
import type { z } from 'zod';
import type { House } from '../house.ts';
import type { LiveSandbox } from '../sandboxes/live.ts';

type AnyAsked = z.output<typeof explainSchema>['request'];
type AskedFile = Extract<AnyAsked, { kind: 'file' }>;
type Asked = Exclude<AnyAsked, AskedFile>;

/** As the policy calls an operation that a person is asked about. */
const opOf = { read: 'read', write: 'write', create: 'create', mkdir: 'create', delete: 'delete', rename: 'rename', link: 'create', truncate: 'write', chmod: 'write', exec: 'exec', connect: 'connect' } as const satisfies Record<AskedFile['op'], FileOp>;

function baseOf(live: LiveSandbox): ActionRequest {
  return {
    sandbox: live.record.value.id,
    role: live.bundle.role,
    task: '',
    source: 'model',
    action: '',
    resource: { kind: 'none' },
    params: new Map(),
    labels: unlabelled,
    provenance: new Map(),
    history: { readRestricted: false, ingestedUntrusted: false, hasEgress: false, counts: new Map() },
  };
}

function requestOf(live: LiveSandbox, asked: Asked): ActionRequest {
  const base = baseOf(live);
  switch (asked.kind) {
    case 'tool':
      return { ...base, ...live.inForce.resolveTool(asked.tool, new Map(Object.entries(asked.arguments))), resource: { kind: 'tool', name: asked.tool } };
    case 'action':
      return { ...base, action: asked.action, params: new Map(Object.entries(asked.params)) };
    case 'connect':
      return { ...base, source: 'connect', resource: { kind: 'host', host: asked.host, port: asked.port } };
    case 'http': {
      const url = parseUrl(asked.url);
      const tls = url.protocol === 'https:';
      const resource = {
        kind: 'http',
        host: url.hostname,
        port: url.port === '' ? (tls ? 443 : 80) : Number(url.port),
        method: asked.method.toUpperCase(),
        path: url.pathname,
        query: [...url.searchParams],
        tls,
      } as const;
      return { ...base, source: 'http', ...live.inForce.resolveHttp(resource, new Map(Object.entries(asked.body))), resource };
    }
  }
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && (url.protocol === 'http:' || url.protocol === 'https:')) return url;
  throw new NemoError('NEMO_E_BODY', { what: 'The address is not an http or https URL.', fix: 'Write e.g. https://api.example.com/v1/items' });
}

export function explain(live: LiveSandbox, asked: Asked): Explained {
  const { verdict, action, rules, reason, hint, policyVersion } = live.inForce.decide(requestOf(live, asked));
  return { verdict, action, rules: rules.map((rule) => ({ ...rule })), reason, hint, policyVersion };
}

/** An operation on a file: what the kernel answers, and, where a person would be asked, whether the policy leaves anything to ask. Throws NEMO_E_BODY. */
export async function explainFile(house: House, live: LiveSandbox, asked: AskedFile): Promise<Explained> {
  const { op, path, toPath } = asked;
  const two = op === 'rename' || op === 'link';
  if (two !== (toPath !== undefined)) throw new NemoError('NEMO_E_BODY', { what: two ? `${op} needs toPath, the new name.` : `${op} needs one path only.` });
  const kernel = house.explainFile(live.bundle.sandboxPolicy, await house.hostFacts(), { op, path, ...(toPath === undefined ? {} : { toPath }) });
  const policyVersion = live.inForce.version;
  if (kernel.verdict === 'escalate') {
    // A link makes its new name; everything else is about the first path.
    const resource = op === 'link' ? { kind: 'file', op: 'create', path: toPath ?? path } as const : { kind: 'file', op: opOf[op], path, ...(toPath === undefined ? {} : { toPath }) } as const;
    const held = live.inForce.decide({ ...baseOf(live), source: 'syscall', resource });
    if (held.verdict === 'deny') return { verdict: 'deny', action: '', rules: held.rules.map((rule) => ({ ...rule })), reason: held.reason, hint: held.hint, policyVersion };
  }
  const sees = kernel.errno === null ? '' : `; the program sees ${kernel.errno}`;
  const reason = kernel.verdict === 'allow' ? 'Nothing stops it.' : kernel.verdict === 'deny' ? `Stopped by ${kernel.layer ?? 'the policy'}${sees}.` : `A person is asked${kernel.errno === null ? '' : `; where nobody approves, the program sees ${kernel.errno}`}.`;
  return { verdict: kernel.verdict, action: '', rules: [ruleRef(live.bundle.sandboxPolicy, kernel.rule)], reason, hint: '', policyVersion };
}
