/** Fields of a network rule that make no sense together: each would silently mean nothing. */
import type { z } from 'zod';
import { problem } from './issue.ts';
import { httpProtocols, type RuleProtocol } from './network-words.ts';

/** What the checks look at; any rule of any list is one. */
export interface RuleFields {
  readonly domain: string;
  readonly ports?: readonly number[] | undefined;
  readonly protocol?: RuleProtocol | undefined;
  readonly tls?: 'intercept' | 'passthrough' | undefined;
  readonly uninspected?: 'allow' | undefined;
  readonly [field: string]: unknown;
}

/** Words of one protocol, by the field of the rule. */
const wordsOf = { graphql: 'graphql', mcp: 'mcp', jsonRpc: 'json-rpc', smtp: 'smtp', postgres: 'postgres', redis: 'redis' } as const satisfies Record<string, RuleProtocol>;
const ofHttp = ['methods', 'paths', 'query', 'headers', 'maxBody', 'onOversize', 'upstream'] as const;
/** Need TLS to be opened. */
const inside = [...ofHttp, 'as', 'graphql', 'mcp', 'jsonRpc', 'smtp', 'postgres', 'redis'] as const;

/** The protocol of a rule: as said, or that of the words it uses; '' = unsaid. */
export function protocolOf(rule: RuleFields): RuleProtocol | '' {
  if (rule.protocol !== undefined) return rule.protocol;
  for (const [field, protocol] of Object.entries(wordsOf)) if (rule[field] !== undefined) return protocol;
  return '';
}

/** Ports that a rule means where it names none. */
export function defaultPorts(protocol: RuleProtocol | ''): readonly number[] {
  if (protocol === 'smtp') return [587];
  if (protocol === 'postgres') return [5432];
  return protocol === 'redis' ? [6379] : [80, 443];
}

interface Lists {
  readonly egress: { readonly allow: readonly RuleFields[]; readonly escalate: readonly RuleFields[]; readonly deny: readonly RuleFields[] };
  readonly inspection: { readonly tlsDecrypt: boolean; readonly scanForPII: boolean; readonly actions?: unknown; readonly responses?: unknown; readonly maxBody?: unknown };
  readonly labels: readonly unknown[];
}

/** Adds an issue for every rule that contradicts itself, or a rule beside it. */
export function checkSense(policy: Lists, ctx: z.core.$RefinementCtx): void {
  const spoken = new Map<string, RuleProtocol>();
  const idle = policy.inspection.scanForPII ? undefined : (['actions', 'responses', 'maxBody'] as const).find((field) => policy.inspection[field] !== undefined);
  if (idle !== undefined) ctx.addIssue({ code: 'custom', path: ['inspection', idle], message: `\`${idle}\` means nothing where \`scanForPII\` is false.`, params: problem('NEMO_E_POLICY_TYPE', undefined, 'Remove it, or let `scanForPII` be true.') });
  if (policy.labels.length > 0 && (!policy.inspection.scanForPII || policy.inspection.responses === false)) {
    ctx.addIssue({ code: 'custom', path: ['labels'], message: '`labels` means nothing where answers are not read.', params: problem('NEMO_E_POLICY_TYPE', undefined, 'Let `inspection.scanForPII` and `inspection.responses` be true, or remove it.') });
  }
  for (const list of ['allow', 'escalate', 'deny'] as const) {
    policy.egress[list].forEach((rule, index) => {
      const bad = (field: string, message: string, why: string | undefined, fix: string): void => {
        ctx.addIssue({ code: 'custom', path: ['egress', list, index, field], message, params: problem('NEMO_E_POLICY_TYPE', why, fix) });
      };
      const protocol = protocolOf(rule);
      if (list !== 'deny') checkTls(rule, protocol, policy.inspection, bad);
      checkProtocol(rule, protocol, bad);
      const query = rule['query'] ?? {};
      const missing = Array.isArray(rule['queryRequired']) ? rule['queryRequired'].find((name) => typeof name === 'string' && !Object.hasOwn(query, name)) : undefined;
      if (missing !== undefined) bad('queryRequired', `The parameter ${JSON.stringify(missing)} is not among those of \`query\`.`, 'A parameter that `query` does not name may not occur at all.', 'Name it in `query`, with "*" if every value will do.');
      const empty = list === 'allow' ? undefined : (['query', 'headers'] as const).find((name) => rule[name] !== undefined && Object.keys(rule[name] ?? {}).length === 0);
      if (empty !== undefined) bad(empty, `\`${empty}\` names nothing, so that the rule never matches.`, undefined, 'Name what is meant, or remove the field.');
      if (list === 'deny') {
        const mail: unknown = rule['smtp'];
        if (typeof mail === 'object' && mail !== null && 'starttls' in mail && mail.starttls !== undefined) bad('smtp', '`starttls` says nothing in a rule that denies.', undefined, 'Say it in the rule that allows.');
        return;
      }
      const own = protocol === 'smtp' || protocol === 'postgres' || protocol === 'redis' || protocol === 'tcp' ? protocol : undefined;
      for (const port of rule.ports ?? defaultPorts(protocol)) {
        const place = `${rule.domain}:${port}`;
        const before = spoken.get(place);
        if (own === undefined) continue;
        if (before !== undefined && before !== own) return bad(rule.protocol === undefined ? own : 'protocol', `Another rule says that ${before} is spoken at ${place}.`, 'A connection is read in one way.', 'Give each its own port or host.');
        spoken.set(place, own);
      }
    });
  }
}

type Bad = (field: string, message: string, why: string | undefined, fix: string) => void;

function checkTls(rule: RuleFields, protocol: RuleProtocol | '', inspection: Lists['inspection'], bad: Bad): void {
  const closed = rule.tls === 'passthrough' || (rule.tls === undefined && !inspection.tlsDecrypt);
  const why = rule.tls === 'passthrough' ? 'The rule says `tls: passthrough`.' : '`inspection.tlsDecrypt` is false.';
  if (closed) {
    const field = inside.find((name) => rule[name] !== undefined);
    const fix = 'Say `tls: intercept` in the rule, or leave the field out.';
    if (field !== undefined) return bad(field, `\`${field}\` cannot be decided where TLS is not opened.`, why, fix);
    if (rule.tls === 'passthrough' && rule['ca'] !== undefined) return bad('ca', '`ca` means nothing where the client itself verifies the server.', why, fix);
    if (rule.protocol !== undefined && rule.protocol !== 'tcp') return bad('protocol', `\`protocol: ${rule.protocol}\` cannot be seen where TLS is not opened.`, why, fix);
  }
  if (rule.tls === 'passthrough' && inspection.scanForPII && rule.uninspected !== 'allow') {
    return bad('tls', '`tls: passthrough` and `inspection.scanForPII` contradict each other.', 'What is not opened cannot be searched.', 'Say `uninspected: allow` beside it if this host is trusted with anything, or let TLS be opened.');
  }
  if (rule.uninspected === 'allow' && rule.tls !== 'passthrough') bad('uninspected', '`uninspected: allow` stands only beside `tls: passthrough`.', protocol === 'tcp' ? 'Connections of `protocol: tcp` are passed on unread in any case.' : 'Everything else is searched.', 'Remove it.');
  else if (protocol === 'tcp' && rule.tls === 'intercept') bad('tls', 'Connections of `protocol: tcp` are passed on unread.', undefined, 'Remove `tls`, or name the protocol that is spoken.');
}

function checkProtocol(rule: RuleFields, protocol: RuleProtocol | '', bad: Bad): void {
  for (const [field, own] of Object.entries(wordsOf)) {
    if (rule[field] !== undefined && protocol !== own) return bad(field, `\`${field}\` says nothing about \`protocol: ${protocol}\`.`, undefined, `Say \`protocol: ${own}\`, or remove it.`);
  }
  // Its messages have a limit of their own, and are read one by one.
  const sized = protocol === 'websocket' ? (['maxBody', 'onOversize'] as const).find((name) => rule[name] !== undefined) : undefined;
  if (sized !== undefined) return bad(sized, `\`${sized}\` is about the body of a request; the opening of a WebSocket has none.`, undefined, 'Remove it.');
  if (protocol === '' || httpProtocols.has(protocol)) return;
  const unread = protocol === 'tcp' ? (['as', 'ca'] as const).find((name) => rule[name] !== undefined) : undefined;
  if (unread !== undefined) return bad(unread, `\`${unread}\` means nothing where connections are passed on unread.`, undefined, 'Remove it, or name the protocol that is spoken.');
  const field = ofHttp.find((name) => rule[name] !== undefined);
  if (field !== undefined) bad(field, `\`${field}\` is decided for HTTP only, not for \`protocol: ${protocol}\`.`, undefined, 'Remove it, or name another protocol.');
  else if (protocol === 'tcp' && rule.ports === undefined) bad('protocol', '`protocol: tcp` needs a port.', 'It is passed on unread, so that there is no usual one.', 'Add e.g. `ports: [22]`.');
}
