/** Turns loaded policy files into the IR. */
import { isIP } from 'node:net';
import { actionMatters, defaultPorts, parseAttribute, protocolOf, sandboxFiles, whereOf, type ApprovalPolicy, type Catalogue, type EgressRule, type FileOp, type NetworkPolicyFile, type Path, type RuleRef, type SandboxPolicy } from '@nemoclaw/contract';
import { canonicalHost } from './hosts.ts';
import type { ActionIr, ArgumentIr, EgressRuleIr, FileRuleIr, IngressRuleIr, PolicyIr } from './ir.ts';
import { looksInside } from './messages.ts';
import { buildPolicy, type CompiledPolicy } from './policy.ts';

/** What `compilePolicy` reads; a `BlueprintFolder` or `PolicyBundle` of the contract is one. */
export interface PolicyInput {
  readonly sandboxPolicy: SandboxPolicy;
  readonly network?: NetworkPolicyFile;
  readonly approvals?: ApprovalPolicy;
  readonly catalogue?: Catalogue;
  /** '' = any role. */
  readonly role: string;
  /** For network rules that come without a sandbox policy of the user’s: an action that a rule names is as allowed as the rule says. */
  readonly rulesAllowActions?: true;
  /** Not read here: rule places come with the loaded policies. */
  readonly files?: ReadonlyMap<string, string>;
}

/** Compiles a bundle into an immutable policy. `version` is the number shown in every decision. No network file: no host may be reached. */
export function compilePolicy(input: PolicyInput, version: number): CompiledPolicy {
  const spec = input.sandboxPolicy.spec;
  const here = (id: string, ...path: Path): RuleRef => ref(id, input.sandboxPolicy, ['spec', ...path]);
  const names = (list: 'allowedAPIs' | 'deniedAPIs') => spec.permissions[list].map((pattern, i) => ({ ref: here(`permissions.${list}[${i}]`, 'permissions', list, i), pattern }));
  const files = (id: string, list: readonly string[], ...path: Path): FileRuleIr[] => list.map((pattern, i) => fileRule(here(`${id}[${i}]`, ...path, i), pattern, []));
  const inspection = input.network?.networkPolicy.inspection;
  const ir: PolicyIr = {
    format: 1,
    version,
    name: input.sandboxPolicy.metadata.name,
    role: input.role,
    networkNone: spec.isolation.network === 'none' ? here('isolation.network', 'isolation', 'network') : null,
    egress: egressOf(input.network, spec.isolation.network === 'open' ? here('isolation.network', 'isolation', 'network') : undefined, requestHosts(input)),
    ingress: ingress(input.network),
    inspection: inspection === undefined ? { tlsDecrypt: true, logPayloads: false, scanForPII: true } : { ...stated({ ...inspection, actions: words(inspection.actions), responses: typeof inspection.responses === 'object' ? { actions: stated(inspection.responses.actions) } : inspection.responses }) },
    ...stated({ labels: input.network?.networkPolicy.labels.length ? input.network.networkPolicy.labels : undefined }),
    ...stated({ rulesAllowActions: input.rulesAllowActions }),
    allowed: names('allowedAPIs'),
    denied: names('deniedAPIs'),
    triggers: (input.approvals?.triggers ?? []).map((t, i) => ({ ref: ref(`approvals.triggers[${i}]`, input.approvals, ['triggers', i]), pattern: t.action, threshold: t.threshold })),
    organization: (input.catalogue?.organization.domains ?? []).toSorted(),
    actions: (input.catalogue?.actions ?? []).map((a, i) => action(a, ref(`actions[${i}]`, input.catalogue, ['actions', i]))),
    files: {
      workspaceWritable: spec.isolation.filesystem !== 'read-only',
      readOnly: files('filesystem.readOnly', spec.filesystem.readOnly, 'filesystem', 'readOnly'),
      readWrite: files('filesystem.readWrite', spec.filesystem.readWrite, 'filesystem', 'readWrite'),
      deny: files('filesystem.deny', spec.filesystem.deny, 'filesystem', 'deny'),
      escalate: spec.filesystem.escalate.map((e, i) => fileRule(here(`filesystem.escalate[${i}]`, 'filesystem', 'escalate', i), e.path, e.on)),
      execAllow: files('process.exec.allow', spec.process.exec.allow, 'process', 'exec', 'allow'),
      execEscalate: files('process.exec.escalate', spec.process.exec.escalate, 'process', 'exec', 'escalate'),
    },
    calls: spec.syscalls.escalate.map((name, i) => ({ ref: here(`syscalls.escalate[${i}]`, 'syscalls', 'escalate', i), name })),
  };
  return buildPolicy(ir);
}

function ref(id: string, policy: object | undefined, path: Path): RuleRef {
  const where = policy === undefined ? undefined : whereOf(policy, path);
  return where === undefined ? { id } : { id, file: where.file, line: where.line };
}

function fileRule(r: RuleRef, pattern: string, on: readonly FileOp[]): FileRuleIr {
  return { ref: r, path: sandboxFiles.ruledPath(pattern), folder: pattern.endsWith('/**'), on };
}

function egress(file: NetworkPolicyFile): EgressRuleIr[] {
  const lists = file.networkPolicy.egress;
  return (['deny', 'escalate', 'allow'] as const).flatMap((effect) =>
    lists[effect].map((given, i): EgressRuleIr => {
      const rule: EgressRule = given;
      const protocol = protocolOf(rule);
      return {
        ref: ref(`egress.${effect}[${i}]`, file, ['networkPolicy', 'egress', effect, i]),
        effect,
        // an address may be written in any of its spellings
        domain: isIP(rule.domain) === 0 ? rule.domain : canonicalHost(rule.domain),
        ports: rule.ports ?? (effect === 'deny' ? [] : defaultPorts(protocol)),
        methods: rule.methods ?? [],
        paths: rule.paths ?? [],
        ...(rule.query === undefined ? {} : { query: valuesOf(rule.query) }),
        ...('queryRequired' in given && given.queryRequired !== undefined ? { queryRequired: given.queryRequired } : {}),
        addresses: rule.addresses ?? [],
        ca: rule.ca ?? '',
        tls: rule.tls ?? '',
        as: rule.as ?? '',
        accepts: rule.accepts ?? '',
        ...(protocol === '' ? {} : { protocol }),
        ...(rule.headers === undefined ? {} : { headers: valuesOf(rule.headers) }),
        ...stated({ graphql: words(rule.graphql), jsonRpc: words(rule.jsonRpc), smtp: words(rule.smtp), postgres: words(rule.postgres), redis: rule.redis, binaries: rule.binaries, maxBody: rule.maxBody, onOversize: rule.onOversize, rate: rule.rate }),
        ...(rule.mcp === undefined ? {} : { mcp: { ...stated({ methods: rule.mcp.methods, tools: rule.mcp.tools }), ...(rule.mcp.arguments === undefined ? {} : { arguments: Object.entries(rule.mcp.arguments).map(argument) }) } }),
        ...(rule.mode === 'monitor' ? { monitor: true } : {}),
      };
    }),
  );
}

function valuesOf(given: Readonly<Record<string, string | readonly string[]>>): (readonly [string, readonly string[]])[] {
  return Object.entries(given).map(([name, values]) => [name, typeof values === 'string' ? [values] : values] as const);
}

type Argument = NonNullable<NonNullable<EgressRule['mcp']>['arguments']>[string];
function argument([name, given]: [string, Argument]): ArgumentIr {
  const path = name.split('.');
  if (typeof given === 'object' && !Array.isArray(given)) return { path, values: [], ...stated(given) };
  return { path, values: Array.isArray(given) ? given : [given] };
}

/** The same without the fields that are undefined: encoded policies are equal where their meaning is. */
function stated<T extends object>(given: T): { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & { [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as ReturnType<typeof stated<T>>;
}

const words = <T extends object>(given: T | undefined) => (given === undefined ? undefined : stated(given));

function ingress(file: NetworkPolicyFile | undefined): IngressRuleIr[] {
  return (file?.networkPolicy.ingress.allow ?? []).map((rule, i) => ({
    ref: ref(`ingress.allow[${i}]`, file, ['networkPolicy', 'ingress', 'allow', i]),
    source: rule.source,
    path: rule.path,
    port: rule.port ?? 0,
    ...(rule.auth === undefined ? {} : { auth: rule.auth }),
    ...(rule.rate === undefined ? {} : { rate: rule.rate }),
  }));
}

/** Level `open`: any host on any port that no more specific rule decides; unread. Private addresses stay refused, since none is named. */
function egressOf(file: NetworkPolicyFile | undefined, open: RuleRef | undefined, hosts: readonly string[]): EgressRuleIr[] {
  const named = file === undefined ? [] : egress(file);
  if (open === undefined) return named;
  // Where a rule takes away by what is inside a request, or the request is an action that is not plainly allowed, TLS must be opened, so that these hosts are for HTTP only.
  const looked = named.filter((rule) => rule.effect !== 'allow' && rule.domain !== '*' && looksInside(rule)).map((rule) => rule.domain);
  const read = [...new Set([...looked, ...hosts])].filter((domain) => !named.some((rule) => rule.effect === 'allow' && rule.domain === domain));
  return [...named, ...read.map((domain): EgressRuleIr => ({ ...everywhere({ ...open, id: `${open.id}:${domain}` }), domain, ports: [80, 443], tls: 'intercept' })), everywhere(open)];
}
/** Hosts with requests that are actions which are denied or asked about. */
function requestHosts({ sandboxPolicy, catalogue, approvals }: PolicyInput): string[] {
  const actions = (catalogue?.actions ?? []).filter(({ name }) => actionMatters(name, sandboxPolicy.spec.permissions, approvals));
  return actions.flatMap(({ match }) => match.flatMap(({ http }) => (http === undefined || http.host === '*' || (http.method === undefined && http.path === undefined) ? [] : [http.host])));
}
function everywhere(r: RuleRef): EgressRuleIr {
  return { ref: r, effect: 'allow', domain: '*', ports: [], methods: [], paths: [], addresses: [], ca: '', tls: 'passthrough', as: '', accepts: '' };
}

function action(given: Catalogue['actions'][number], r: RuleRef): ActionIr {
  return {
    ref: r,
    name: given.name,
    local: given.local !== undefined,
    tools: given.match.flatMap((m) => (m.tool === undefined ? [] : [m.tool])),
    http: given.match.flatMap((m) => (m.http === undefined ? [] : [{ host: m.http.host, method: m.http.method ?? '', path: m.http.path ?? '' }])),
    attributes: Object.entries(given.attributes).flatMap(([name, text]) => {
      const expression = parseAttribute(text);
      return expression === undefined ? [] : [[name, expression] as const];
    }),
    labels: given.labels,
  };
}
