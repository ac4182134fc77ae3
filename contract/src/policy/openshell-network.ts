/** The network part of OpenShell's own policy files as a networkPolicy: the same, or stricter; what cannot be honoured is an error at its place. */
import { isIP } from 'node:net';
import type { Path, Source } from './source.ts';
import { Translation, type Translated } from './foreign.ts';
import { checkSource } from './issue.ts';
import { allowedPath, deniedPaths } from './openshell-glob.ts';
import { graphqlRules, jsonRpcRules, mcpRules, type Add } from './openshell-protocols.ts';
import { openshellFileSchema, type ForeignEndpoint, type ForeignRule, type OpenshellFile } from './openshell-schema.ts';

const presets: Readonly<Record<NonNullable<ForeignEndpoint['access']>, readonly string[] | undefined>> = {
  'read-only': ['GET', 'HEAD', 'OPTIONS'],
  'read-write': ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH'],
  full: undefined,
};

/** A rule of ours, before our own schema has checked it. */
type Rule = Record<string, unknown>;

function domainOf(t: Translation, host: string, at: Path): string {
  const name = host.toLowerCase().replace(/\.$/, '');
  if (name.startsWith('**.')) return `*.${name.slice(3)}`;
  if (/^\*\.[^*]+$/.test(name)) return `?.${name.slice(2)}`;
  if (name.includes('*')) t.refuse([...at, 'host'], `The host ${JSON.stringify(host)} has a wildcard for a part of a label; here one stands for whole labels.`, 'Name the hosts.');
  return name;
}

function queryOf(t: Translation, query: ForeignRule['query'], at: Path, denies: boolean): Rule {
  if (query === undefined || Object.keys(query).length === 0) return {};
  const out: Record<string, string[]> = {};
  for (const [name, given] of Object.entries(query)) {
    const values = typeof given === 'string' ? [given] : given.any;
    if (!denies && values.some((value) => /[?[\]]/.test(value))) t.refuse([...at, 'query', name], `The values of ${name} have ? or [ ], which are plain characters here.`, 'Name the values, or use *.');
    out[name] = values.map((value) => (denies ? value.replaceAll(/\[[^\]]*\]|\?/g, '*') : value));
  }
  // theirs wants every one of them to occur
  return { query: out, ...(denies ? {} : { queryRequired: Object.keys(out) }) };
}

function methodOf(t: Translation, rule: ForeignRule, at: Path): Rule {
  if (rule.operation_type !== undefined || rule.operation_name !== undefined || rule.fields !== undefined || rule.tool !== undefined || rule.params !== undefined) t.refuse(at, 'Rules on operations and tools say nothing in an endpoint of protocol: rest.', 'Use rules on method and path, or another protocol.');
  if (rule.method === undefined) t.refuse(at, 'This rule names no method.', 'Write a method, or "*".');
  return rule.method === '*' ? {} : { methods: [rule.method.toUpperCase()] };
}

/** Where both an endpoint and its rule name a path, both must match. */
function joined(t: Translation, endpoint: string | undefined, rule: string | undefined, at: Path): string | undefined {
  const any = (path: string | undefined): boolean => path === undefined || path === '' || path === '*' || path === '**' || path === '/*' || path === '/**';
  if (any(endpoint)) return any(rule) ? undefined : rule;
  if (any(rule) || rule === endpoint) return endpoint;
  const root = endpoint?.endsWith('/**') === true ? endpoint.slice(0, -2) : undefined;
  if (root !== undefined && !/[*?[]/.test(root) && rule?.startsWith(root) === true) return rule;
  return t.refuse([...at, 'path'], `The endpoint's path ${JSON.stringify(endpoint)} and the rule's ${JSON.stringify(rule)} must both match, which cannot be expressed.`, 'Say the path once, in the rule.');
}

function pathOf(t: Translation, given: string | undefined, at: Path): Rule {
  if (given === undefined) return {};
  const path = allowedPath(given);
  return path === undefined ? t.refuse([...at, 'path'], `The path ${JSON.stringify(given)} has ?, [ ] or { }, which cannot be expressed.`, 'Use * and **, or name the paths.') : { paths: [path] };
}

/** What every rule of an endpoint says of where it leads. */
function base(t: Translation, endpoint: ForeignEndpoint, at: Path): Rule {
  const ports = endpoint.ports ?? (endpoint.port === undefined ? undefined : [endpoint.port]);
  if (ports === undefined) t.refuse(at, 'This endpoint names no port.', 'Write `port: 443`.');
  if (endpoint.credential_signing !== undefined) t.note([...at, 'credential_signing'], `credential_signing: requests to ${endpoint.host} are signed anew where the sandbox has a credential of kind sigv4 for it, and go as they came where it has none.`);
  if (endpoint.credential_binding !== undefined) t.note([...at, 'credential_binding'], 'credential_binding: credentials are bound to hosts and paths where they are given to the sandbox.');
  for (const field of ['request_body_credential_rewrite', 'websocket_credential_rewrite'] as const) {
    if (endpoint[field]) t.refuse([...at, field], `${field}: placeholders of credentials are replaced in headers only.`, 'Remove it.');
  }
  const addresses = endpoint.allowed_ips.map((ip) => ip.replace(/^([0-9.]+)\/32$|^([0-9a-fA-F:.]+)\/128$/, '$1$2'));
  addresses.forEach((ip, i) => {
    const [address = ''] = ip.split('/');
    if (isIP(address) === 0) t.refuse([...at, 'allowed_ips', i], `allowed_ips: ${ip} is no address and no block.`, 'Write e.g. 10.1.0.0/16.');
    if (/^(127\.|169\.254\.|0\.)/.test(address) || /^(::1?$|fe[89ab])/i.test(address)) t.refuse([...at, 'allowed_ips', i], `allowed_ips: ${ip} lies in loopback, link-local or unspecified addresses.`, 'Name others.');
  });
  if (endpoint.allow_encoded_slash) t.note([...at, 'allow_encoded_slash'], 'allow_encoded_slash: paths with %2F are decided as the server may read them.');
  return { domain: domainOf(t, endpoint.host, at), ports, ...(addresses.length === 0 ? {} : { addresses }) };
}

interface Out {
  readonly allow: Rule[];
  readonly deny: Rule[];
}

function inspected(t: Translation, endpoint: ForeignEndpoint, at: Path, add: (list: keyof Out, rule: Rule, theirs: Path) => void, root: Rule): void {
  if (endpoint.access !== undefined) {
    const methods = presets[endpoint.access];
    add('allow', { ...root, ...(methods === undefined ? {} : { methods }), ...pathOf(t, joined(t, endpoint.path, undefined, at), at) }, at);
  }
  endpoint.rules?.forEach(({ allow }, i) => {
    const place = [...at, 'rules', i, 'allow'];
    add('allow', { ...root, ...methodOf(t, allow, place), ...pathOf(t, joined(t, endpoint.path, allow.path, place), place), ...queryOf(t, allow.query, place, false) }, place);
  });
  endpoint.deny_rules?.forEach((rule, i) => {
    const place = [...at, 'deny_rules', i];
    const { paths, wider } = rule.path === undefined ? { paths: [], wider: false } : deniedPaths(rule.path);
    if (wider) t.note([...place, 'path'], `deny_rules: ${JSON.stringify(rule.path)} denies ${paths.join(' and ')} here.`);
    add('deny', { domain: root['domain'], ports: root['ports'], ...methodOf(t, rule, place), ...(paths.length === 0 ? {} : { paths }), ...queryOf(t, rule.query, place, true) }, place);
  });
}

function endpointRules(t: Translation, endpoint: ForeignEndpoint, at: Path, add: (list: keyof Out, rule: Rule, theirs: Path) => void): void {
  const root = base(t, endpoint, at);
  // What is watched here is a whole host; one path of it is not.
  const pathless = joined(t, endpoint.path, undefined, at) === undefined;
  const watched = endpoint.enforcement === 'audit' && pathless ? { mode: 'monitor' } : {};
  if (endpoint.enforcement === 'audit' && !pathless && endpoint.protocol !== undefined && endpoint.protocol !== 'tcp') t.note([...at, 'enforcement'], `${endpoint.host}: enforcement: audit of one path is enforced here; only a whole host is watched.`);
  if (endpoint.enforcement === undefined && endpoint.protocol !== undefined && endpoint.protocol !== 'tcp') t.note(at, `${endpoint.host}: what the rules do not allow is refused; there it is only recorded where a file does not say \`enforcement: enforce\`.`);
  const enforced: typeof add = (list, rule, theirs) => add(list, { ...rule, ...watched }, theirs);
  switch (endpoint.protocol) {
    case undefined:
    case 'tcp':
      if (endpoint.access === 'read-only' || endpoint.access === 'read-write' || endpoint.rules !== undefined || endpoint.deny_rules !== undefined) t.refuse(at, 'This endpoint has rules but no protocol that they could be applied to.', 'Write `protocol: rest`.');
      if (endpoint.path !== undefined && endpoint.path !== '') t.refuse([...at, 'path'], 'This endpoint has a path but no protocol.', 'Write `protocol: rest`.');
      return add('allow', { ...root, ...(endpoint.tls === 'skip' ? { tls: 'passthrough', uninspected: 'allow' } : endpoint.protocol === 'tcp' ? { protocol: 'tcp' } : {}) }, at);
    case 'rest':
      if (endpoint.tls === 'skip') t.refuse([...at, 'tls'], 'tls: skip: requests cannot be decided where TLS is not opened.', 'Remove it, or the rules.');
      if (endpoint.access === undefined && endpoint.rules === undefined) t.refuse(at, 'This endpoint has neither access nor rules.', 'Write `access: read-only`, or rules.');
      if (endpoint.access !== undefined && endpoint.rules !== undefined) t.refuse([...at, 'access'], 'This endpoint has both access and rules.', 'Keep one.');
      // Also where nothing is said of the requests: what is no HTTP does not pass.
      return inspected(t, endpoint, at, enforced, { ...root, tls: 'intercept' });
    case 'sql':
      return t.refuse([...at, 'protocol'], 'protocol: sql: statements are not decided on.', 'Use `protocol: tcp`, or a network policy of our own format with `postgres: { users, databases }`.');
    case 'websocket':
    case 'graphql':
    case 'mcp':
    case 'json-rpc':
      if (endpoint.tls === 'skip') t.refuse([...at, 'tls'], 'tls: skip: requests cannot be decided where TLS is not opened.', 'Remove it, or the rules.');
      if (endpoint.access !== undefined && endpoint.rules !== undefined) t.refuse([...at, 'access'], 'This endpoint has both access and rules.', 'Keep one.');
      return endpoint.protocol === 'websocket' ? websocketRules(t, endpoint, at, enforced, root) : insideRules(t, endpoint.protocol, endpoint, at, enforced, root);
  }
}

/** Their limit of bodies that are read to decide, where a file says none. */
const bodyDefault = 65_536;

function insideRules(t: Translation, protocol: 'graphql' | 'mcp' | 'json-rpc', endpoint: ForeignEndpoint, at: Path, add: (list: keyof Out, rule: Rule, theirs: Path) => void, root: Rule): void {
  if (protocol === 'graphql' && endpoint.access === undefined && endpoint.rules === undefined) t.refuse(at, 'This endpoint has neither access nor rules.', 'Write `access: read-only`, or rules.');
  const path = joined(t, endpoint.path, undefined, at);
  const maxBody = (protocol === 'graphql' ? endpoint.graphql_max_body_bytes : protocol === 'mcp' ? endpoint.mcp?.max_body_bytes : endpoint.json_rpc?.max_body_bytes) ?? bodyDefault;
  const each: Add = (list, words, theirs) => {
    if (list === 'allow') return add('allow', { ...root, ...pathOf(t, path, at), ...words, maxBody }, theirs);
    const denied = path === undefined ? [] : deniedPaths(path).paths;
    return add('deny', { domain: root['domain'], ports: root['ports'], ...(denied.length === 0 ? {} : { paths: denied }), ...words }, theirs);
  };
  (protocol === 'graphql' ? graphqlRules : protocol === 'mcp' ? mcpRules : jsonRpcRules)(t, endpoint, at, each);
}

/** Opening a WebSocket and saying something through it is one thing here: whoever may open it may speak. */
function websocketRules(t: Translation, endpoint: ForeignEndpoint, at: Path, add: (list: keyof Out, rule: Rule, theirs: Path) => void, root: Rule): void {
  const speech = 'A WebSocket that may be opened but not spoken through cannot be expressed.';
  const plain = (rule: ForeignRule, place: Path): void => {
    if (rule.operation_type !== undefined || rule.operation_name !== undefined || rule.fields !== undefined) t.refuse(place, 'Operations inside a WebSocket cannot be decided.', 'Use GraphQL over HTTP.');
    if (rule.method === undefined || !['GET', 'WEBSOCKET_TEXT', '*'].includes(rule.method)) t.refuse(place, 'This rule names no method of a WebSocket.', 'Write GET, WEBSOCKET_TEXT or "*".');
  };
  if (endpoint.access === 'read-only') t.refuse([...at, 'access'], speech, 'Write `access: read-write`, or remove the endpoint.');
  if (endpoint.access === undefined && endpoint.rules === undefined) t.refuse(at, 'This endpoint has neither access nor rules.', 'Write `access: read-write`, or rules.');
  if (endpoint.access !== undefined) add('allow', { ...root, protocol: 'websocket', ...pathOf(t, joined(t, endpoint.path, undefined, at), at) }, at);
  const about = (rule: ForeignRule): string => JSON.stringify([rule.path ?? '', rule.query ?? {}]);
  const speaks = new Set((endpoint.rules ?? []).filter(({ allow }) => allow.method !== 'GET').map(({ allow }) => about(allow)));
  endpoint.rules?.forEach(({ allow }, i) => {
    const place = [...at, 'rules', i, 'allow'];
    plain(allow, place);
    // what may only be spoken was never opened
    if (allow.method === 'WEBSOCKET_TEXT') return;
    if (!speaks.has(about(allow))) t.refuse(place, speech, 'Add a rule with `method: WEBSOCKET_TEXT` and the same path.');
    add('allow', { ...root, protocol: 'websocket', ...pathOf(t, joined(t, endpoint.path, allow.path, place), place), ...queryOf(t, allow.query, place, false) }, place);
  });
  endpoint.deny_rules?.forEach((rule, i) => {
    const place = [...at, 'deny_rules', i];
    plain(rule, place);
    const paths = rule.path === undefined ? [] : deniedPaths(rule.path).paths;
    if (rule.method === 'WEBSOCKET_TEXT') t.note(place, 'deny_rules: a WebSocket that may not be spoken through is not opened here.');
    add('deny', { domain: root['domain'], ports: root['ports'], protocol: 'websocket', ...(paths.length === 0 ? {} : { paths }), ...queryOf(t, rule.query, place, true) }, place);
  });
}

/** Their endpoints of one place are told apart by path, and a request meets the rules of one alone; here it meets all of them. */
function checkOverlap(t: Translation, all: readonly { readonly endpoint: ForeignEndpoint; readonly at: Path }[]): void {
  const inside = new Set(['graphql', 'mcp', 'json-rpc', 'websocket']);
  const root = (path: string | undefined): string => (path ?? '').replace(/[*?[{].*$/s, '');
  all.forEach(({ endpoint, at }, i) => {
    if (!inside.has(endpoint.protocol ?? '')) return;
    for (const [j, { endpoint: other }] of all.entries()) {
      const ports = other.ports ?? [other.port];
      if (i === j || other.host.toLowerCase() !== endpoint.host.toLowerCase() || other.protocol === endpoint.protocol || !(endpoint.ports ?? [endpoint.port]).some((port) => ports.includes(port))) continue;
      // opening a WebSocket is none of the requests that rules on methods mean
      if (endpoint.protocol === 'websocket' && other.protocol === 'rest') continue;
      const [a, b] = [root(endpoint.path), root(other.path)];
      if (a.startsWith(b) || b.startsWith(a)) t.refuse(at, `Another endpoint at ${endpoint.host} has protocol: ${other.protocol ?? 'none'} and would let pass what this one refuses.`, 'Give both a path, so that neither contains the other.');
    }
  });
}

/** Reads the network part of an OpenShell file. Throws NemoError with the place of what cannot be honoured. */
export function networkFromOpenshell(source: Source): Translated {
  const file: OpenshellFile = checkSource(openshellFileSchema, source);
  const t = new Translation(source);
  const [middleware] = Object.keys(file.network_middlewares);
  if (middleware !== undefined) t.refuse(['network_middlewares', middleware], `network_middlewares.${middleware}: requests are not passed through middleware here.`, 'Remove it; the own secrets of a sandbox are looked for in every request anyway.');
  const out: Out = { allow: [], deny: [] };
  checkOverlap(t, Object.entries(file.network_policies).flatMap(([name, policy]) => policy.endpoints.map((endpoint, i) => ({ endpoint, at: ['network_policies', name, 'endpoints', i] }))));
  for (const [name, policy] of Object.entries(file.network_policies)) {
    const binaries = policy.binaries.map((one) => one.path);
    policy.endpoints.forEach((endpoint, i) =>
      endpointRules(t, endpoint, ['network_policies', name, 'endpoints', i], (list, rule, theirs) => {
        const ours: Path = ['networkPolicy', 'egress', list, out[list].length];
        t.from(ours, theirs);
        if (list === 'allow' && binaries.length > 0) t.from([...ours, 'binaries'], ['network_policies', name, 'binaries']);
        // A denial for some programs is one for all: stricter.
        out[list].push(list === 'allow' && binaries.length > 0 ? { ...rule, binaries } : rule);
      }),
    );
  }
  return t.result({ networkPolicy: { name: file.preset?.name ?? 'openshell-policy', egress: out } });
}
