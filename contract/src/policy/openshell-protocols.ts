/** Rules of an OpenShell endpoint about what is said inside requests: GraphQL, MCP, JSON-RPC and WebSocket, as rules of ours. */
import type { Translation } from './foreign.ts';
import type { ForeignEndpoint, ForeignRule } from './openshell-schema.ts';
import type { Path } from './source.ts';

/** Words of one rule of ours, without host and port. */
export type Words = Readonly<Record<string, unknown>>;
export type Add = (list: 'allow' | 'deny', words: Words, theirs: Path) => void;

type Matcher = NonNullable<ForeignRule['tool']>;
type Inside = NonNullable<ForeignEndpoint['protocol']>;

/** What a rule of each protocol may say. */
const fieldsOf: Readonly<Partial<Record<Inside, readonly (keyof ForeignRule)[]>>> = {
  websocket: ['method', 'path', 'query'],
  graphql: ['operation_type', 'operation_name', 'fields'],
  mcp: ['method', 'tool', 'params'],
  'json-rpc': ['method'],
};

/** Refuses fields that belong to another protocol. */
function onlyOwn(t: Translation, protocol: Inside, rule: ForeignRule, at: Path): void {
  const own = fieldsOf[protocol] ?? [];
  const other = Object.entries(rule).find(([name, value]) => value !== undefined && !own.includes(name as keyof ForeignRule));
  if (other !== undefined) t.refuse([...at, other[0]], `${other[0]} says nothing here in a rule of protocol: ${protocol}.`, `Use ${own.join(', ')}.`);
}

/** Their globs in names; `?` and classes are plain characters here. A denial becomes wider. */
function globs(t: Translation, given: readonly string[], at: Path, denies: boolean): string[] {
  if (!denies && given.some((one) => /[?[\]{}]/.test(one))) t.refuse(at, `${given.join(', ')}: ?, [ ] and { } are plain characters here.`, 'Name them, or use *.');
  return given.map((one) => (denies ? one.replaceAll(/\[[^\]]*\]|\{[^}]*\}|\?/g, '*') : one).replaceAll(/\*+/g, '*'));
}
const listOf = (matcher: Matcher): readonly string[] => (typeof matcher === 'string' ? [matcher] : matcher.any);

// ---- GraphQL

const operations = { 'read-only': ['query'], 'read-write': ['query', 'mutation'], full: undefined } as const;

export function graphqlRules(t: Translation, endpoint: ForeignEndpoint, at: Path, add: Add): void {
  if (endpoint.graphql_persisted_queries !== undefined) t.refuse([...at, 'graphql_persisted_queries'], 'graphql_persisted_queries: an operation is decided by what it says; one that is only named by a hash is refused.', 'Remove it, and let the client send whole operations.');
  if (endpoint.persisted_queries !== undefined && endpoint.persisted_queries !== 'deny') t.refuse([...at, 'persisted_queries'], `persisted_queries: ${endpoint.persisted_queries}: an operation that is only named by a hash is refused here.`, 'Write deny.');
  const words = (rule: ForeignRule, place: Path, denies: boolean): Words => {
    onlyOwn(t, 'graphql', rule, place);
    const { operation_type: type, operation_name: name, fields } = rule;
    if (type === undefined) t.refuse(place, 'This rule names no operation_type.', 'Write query, mutation, subscription or "*".');
    if (type !== '*' && !['query', 'mutation', 'subscription'].includes(type)) t.refuse([...place, 'operation_type'], `${type} is no type of operation.`, 'Write query, mutation, subscription or "*".');
    return {
      graphql: {
        ...(type === '*' ? {} : { operations: [type] }),
        ...(name === undefined ? {} : { names: globs(t, [name], [...place, 'operation_name'], denies) }),
        ...(fields === undefined || fields.length === 0 ? {} : { fields: globs(t, fields, [...place, 'fields'], denies) }),
      },
    };
  };
  if (endpoint.access !== undefined) add('allow', { protocol: 'graphql', ...(operations[endpoint.access] === undefined ? {} : { graphql: { operations: operations[endpoint.access] } }) }, at);
  endpoint.rules?.forEach(({ allow }, i) => add('allow', words(allow, [...at, 'rules', i, 'allow'], false), [...at, 'rules', i, 'allow']));
  endpoint.deny_rules?.forEach((rule, i) => add('deny', words(rule, [...at, 'deny_rules', i], true), [...at, 'deny_rules', i]));
}

// ---- MCP

/** The methods of the specification that a client sends. */
const knownMethods = ['initialize', 'ping', 'notifications/*', 'tools/*', 'resources/*', 'prompts/*', 'completion/complete', 'logging/setLevel', 'tasks/*', 'response'] as const;

export function mcpRules(t: Translation, endpoint: ForeignEndpoint, at: Path, add: Add): void {
  const all = endpoint.mcp?.allow_all_known_mcp_methods === true;
  // a wildcard reaches well-formed names alone, as `strict_tool_names` there
  const anyTool = (denies: boolean): Words => (denies || endpoint.mcp?.strict_tool_names === false ? {} : { tools: ['*'] });
  if (endpoint.access !== undefined) t.refuse([...at, 'access'], 'access says nothing about MCP.', 'Write rules with method and tool.');
  if (endpoint.rules === undefined && !all) t.refuse(at, 'This endpoint has no rules.', 'Write rules with method and tool, or mcp: { allow_all_known_mcp_methods: true }.');
  const words = (rule: ForeignRule, place: Path, denies: boolean): Words => {
    onlyOwn(t, 'mcp', rule, place);
    const params = Object.keys(rule.params ?? {});
    if (params.some((name) => name !== 'name')) t.refuse([...place, 'params'], `params.${params.find((name) => name !== 'name') ?? ''}: only params.name is a rule there.`, 'Write `mcp: { arguments: … }` in a network policy of our own format.');
    const tool = rule.tool ?? rule.params?.['name'];
    if (rule.method === undefined && !all) t.refuse(place, 'This rule names no method.', 'Write e.g. `method: tools/call`.');
    if (rule.method !== undefined && rule.method.includes('*') && !rule.method.startsWith('tools/')) t.refuse([...place, 'method'], `${rule.method}: a wildcard stands only for methods of tools/.`, 'Name the method.');
    if (tool !== undefined && rule.method !== undefined && rule.method !== 'tools/call') t.refuse([...place, 'tool'], `${rule.method} names no tool.`, 'Write `method: tools/call`.');
    const methods = tool !== undefined ? ['tools/call'] : rule.method === undefined ? [...knownMethods] : globs(t, [rule.method], [...place, 'method'], denies);
    return { mcp: { methods, ...(tool === undefined ? anyTool(denies) : { tools: globs(t, listOf(tool), [...place, rule.tool === undefined ? 'params' : 'tool'], denies) }) } };
  };
  if (endpoint.rules === undefined) add('allow', { mcp: { methods: [...knownMethods], ...anyTool(false) } }, at);
  endpoint.rules?.forEach(({ allow }, i) => add('allow', words(allow, [...at, 'rules', i, 'allow'], false), [...at, 'rules', i, 'allow']));
  endpoint.deny_rules?.forEach((rule, i) => add('deny', words(rule, [...at, 'deny_rules', i], true), [...at, 'deny_rules', i]));
}

// ---- JSON-RPC

export function jsonRpcRules(t: Translation, endpoint: ForeignEndpoint, at: Path, add: Add): void {
  if (endpoint.access !== undefined) t.refuse([...at, 'access'], 'access says nothing about JSON-RPC.', 'Write rules with method.');
  if (endpoint.rules === undefined) t.refuse(at, 'This endpoint has no rules.', 'Write rules with method.');
  const words = (rule: ForeignRule, place: Path): Words => {
    onlyOwn(t, 'json-rpc', rule, place);
    if (rule.method === undefined) t.refuse(place, 'This rule names no method.', 'Write a method, or "*".');
    if (rule.method !== '*' && /[*?[\]{}]/.test(rule.method)) t.refuse([...place, 'method'], `${rule.method}: methods of JSON-RPC are named whole.`, 'Name the method, or write "*".');
    return rule.method === '*' ? { protocol: 'json-rpc' } : { jsonRpc: { methods: [rule.method] } };
  };
  endpoint.rules?.forEach(({ allow }, i) => add('allow', words(allow, [...at, 'rules', i, 'allow']), [...at, 'rules', i, 'allow']));
  endpoint.deny_rules?.forEach((rule, i) => add('deny', words(rule, [...at, 'deny_rules', i]), [...at, 'deny_rules', i]));
  // answers of the client to the server are refused there
  if (endpoint.rules?.some(({ allow }) => allow.method === '*') === true) add('deny', { jsonRpc: { methods: ['response'] } }, at);
}
