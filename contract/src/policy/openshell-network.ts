/** The network part of OpenShell's own policy files as a networkPolicy: the same, or stricter; what cannot be honoured is an error at its place. */
import { isIP } from 'node:net';
import type { Path, Source } from './source.ts';
import { Translation, type Translated } from './foreign.ts';
import { checkSource } from './issue.ts';
import { allowedPath, deniedPaths } from './openshell-glob.ts';
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
  if (name.includes('*')) {
    t.refuse([...at, 'host'], `The host ${JSON.stringify(host)} matches a single label, or part of one; here a wildcard stands for one or more whole labels.`, name.startsWith('*.') ? `Name the hosts, or write **.${name.slice(2)} if deeper names are meant too.` : 'Name the hosts.');
  }
  return name;
}

function queryOf(t: Translation, query: ForeignRule['query'], at: Path, denies: boolean): Rule {
  if (query === undefined) return {};
  const out: Record<string, string[]> = {};
  for (const [name, given] of Object.entries(query)) {
    const values = typeof given === 'string' ? [given] : given.any;
    if (!denies && values.some((value) => /[?[\]]/.test(value))) t.refuse([...at, 'query', name], `The values of ${name} have ? or [ ], which are plain characters here.`, 'Name the values, or use *.');
    out[name] = values.map((value) => (denies ? value.replaceAll(/\[[^\]]*\]|\?/g, '*') : value));
  }
  return { query: out };
}

function methodOf(t: Translation, rule: ForeignRule, at: Path): Rule {
  if (rule.operation_type !== undefined || rule.operation_name !== undefined || rule.fields !== undefined || rule.tool !== undefined || rule.params !== undefined) t.refuse(at, 'Rules on operations and tools inside a request cannot be honoured.', 'Use rules on method and path.');
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
  if (endpoint.credential_signing !== undefined) t.refuse([...at, 'credential_signing'], 'credential_signing: requests are not signed anew here.', 'Remove it, or use a destination that takes a header.');
  for (const field of ['request_body_credential_rewrite', 'websocket_credential_rewrite'] as const) {
    if (endpoint[field]) t.refuse([...at, field], `${field}: placeholders of credentials are replaced in headers only.`, 'Remove it.');
  }
  const addresses = endpoint.allowed_ips.map((ip, i) => {
    const single = ip.replace(/\/(32|128)$/, '');
    return isIP(single) !== 0 ? single : t.refuse([...at, 'allowed_ips', i], `allowed_ips: ${ip} is a range; here the addresses of a host are named one by one.`, 'Name the addresses.');
  });
  if (endpoint.allow_encoded_slash) t.note([...at, 'allow_encoded_slash'], 'allow_encoded_slash: paths with %2F are decided as the server may read them.');
  return { domain: domainOf(t, endpoint.host, at), ports, ...(addresses.length === 0 ? {} : { addresses }) };
}

interface Out {
  readonly allow: Rule[];
  readonly deny: Rule[];
}

function inspected(t: Translation, endpoint: ForeignEndpoint, at: Path, add: (list: keyof Out, rule: Rule, theirs: Path) => void, root: Rule): void {
  if (endpoint.enforcement === 'audit') t.note([...at, 'enforcement'], `${endpoint.host}: what the rules do not allow is refused, where the file only records it (enforcement: audit).`);
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
  switch (endpoint.protocol) {
    case undefined:
    case 'tcp':
      if (endpoint.access !== undefined || endpoint.rules !== undefined || endpoint.deny_rules !== undefined) t.refuse(at, 'This endpoint has rules but no protocol that they could be applied to.', 'Write `protocol: rest`.');
      if (endpoint.path !== undefined && endpoint.path !== '') t.refuse([...at, 'path'], 'This endpoint has a path but no protocol.', 'Write `protocol: rest`.');
      return add('allow', { ...root, ...(endpoint.tls === 'skip' ? { tls: 'passthrough', uninspected: 'allow' } : {}) }, at);
    case 'rest':
      if (endpoint.tls === 'skip') t.refuse([...at, 'tls'], 'tls: skip: requests cannot be decided where TLS is not opened.', 'Remove it, or the rules.');
      if (endpoint.access === undefined && endpoint.rules === undefined) t.refuse(at, 'This endpoint has neither access nor rules.', 'Write `access: read-only`, or rules.');
      if (endpoint.access !== undefined && endpoint.rules !== undefined) t.refuse([...at, 'access'], 'This endpoint has both access and rules.', 'Keep one.');
      return inspected(t, endpoint, at, add, root);
    case 'websocket':
    case 'graphql':
    case 'mcp':
    case 'json-rpc':
    case 'sql':
      return t.refuse([...at, 'protocol'], `protocol: ${endpoint.protocol}: what is said inside its requests is not decided here.`, 'Use `protocol: rest` with methods and paths if that is enough.');
  }
}

/** Reads the network part of an OpenShell file. Throws NemoError with the place of what cannot be honoured. */
export function networkFromOpenshell(source: Source): Translated {
  const file: OpenshellFile = checkSource(openshellFileSchema, source);
  const t = new Translation(source);
  const [middleware] = Object.keys(file.network_middlewares);
  if (middleware !== undefined) t.refuse(['network_middlewares', middleware], `network_middlewares.${middleware}: requests are not passed through middleware here.`, 'Remove it; the own secrets of a sandbox are looked for in every request anyway.');
  const out: Out = { allow: [], deny: [] };
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
  return t.result({ networkPolicy: { name: 'openshell-policy', egress: out } });
}
