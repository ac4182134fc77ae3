/** Whether a rule holds for what is inside a request: headers, the application protocol and what it says, the program. Pure; what is not known allows nothing. */
import { foldKey, httpProtocols, type AppMessage, type HeaderValues } from '@nemoclaw/contract';
import { compilePath, matchPath, matchText, strictSegments } from './glob.ts';
import type { ArgumentIr, EgressRuleIr } from './ir.ts';

/** What of a request these rules look at. */
export interface InsideView {
  /** False: a conversation of another protocol than HTTP. */
  readonly http: boolean;
  readonly headers: HeaderValues | undefined;
  readonly message: AppMessage | undefined;
  readonly program: string | undefined;
}

/** The protocols that only the body of a request shows. */
const inBodies: ReadonlySet<string> = new Set(['graphql', 'mcp', 'json-rpc']);
export function isInBody(protocol: string | undefined): boolean {
  return protocol !== undefined && inBodies.has(protocol);
}

/** Whether a rule can only be decided when more is known than host, port and program. */
export function looksInside(ir: EgressRuleIr): boolean {
  return ir.methods.length > 0 || ir.paths.length > 0 || ir.query !== undefined || ir.headers !== undefined || (ir.protocol !== undefined && ir.protocol !== 'tcp');
}

/** Which of the conditions inside a request fails, as a word for people; undefined: all hold. */
export function failingInside(ir: EgressRuleIr, view: InsideView): 'programs' | 'headers' | 'protocols' | 'operations' | 'tools' | 'recipients' | undefined {
  if (!programHolds(ir, view.program)) return 'programs';
  if (!headersHold(ir, view)) return 'headers';
  const protocol = protocolHolds(ir, view);
  if (protocol !== 'yes') return protocol === 'unknown' && ir.effect !== 'allow' ? undefined : 'protocols';
  return wordsFail(ir, view.message);
}

/** The rule says nothing of programs, or this host does not see them, or it is one of them. Where it cannot be told, allow fails and the others hold. */
export function programHolds(ir: EgressRuleIr, program: string | undefined): boolean {
  if (ir.binaries === undefined || program === undefined) return true;
  if (program === '') return ir.effect !== 'allow';
  const segments = strictSegments(program);
  return ir.binaries.some((one) => matchPath(compilePath(one), segments));
}

/** Allow: each header is there and all its values are accepted. Escalate, deny: one of them is there with such a value, also as one of a list. */
function headersHold(ir: EgressRuleIr, view: InsideView): boolean {
  if (ir.headers === undefined) return true;
  if (!view.http) return false;
  const given = view.headers;
  if (given === undefined) return ir.effect !== 'allow';
  const values = (name: string): readonly string[] => (Object.hasOwn(given, name) ? (given[name] ?? []) : []);
  if (ir.effect === 'allow') return ir.headers.every(([name, accepted]) => values(name).length > 0 && values(name).every((value) => accepted.some((one) => matchText(one, value))));
  return ir.headers.some(([name, refused]) =>
    values(name).some((value) => [value, ...value.split(',')].some((part) => refused.some((one) => matchText(one.toLowerCase(), part.trim().toLowerCase())))),
  );
}

function protocolHolds(ir: EgressRuleIr, view: InsideView): 'yes' | 'no' | 'unknown' {
  const said = view.message?.protocol;
  const yes = (held: boolean): 'yes' | 'no' => (held ? 'yes' : 'no');
  switch (ir.protocol) {
    case undefined:
      // what goes through a WebSocket has no method, so that one that was allowed by its method was not meant
      return yes(ir.effect !== 'allow' || said !== 'websocket' || ir.methods.length === 0);
    case 'tcp':
      return 'yes';
    case 'http':
      return yes(view.http && said !== 'websocket');
    case 'json-rpc':
    case 'graphql':
    case 'mcp':
      if (!view.http) return 'no';
      // messages may come inside these too (graphql-ws), and what calls itself gRPC may be read as something else
      if (said === undefined || said === 'websocket' || said === 'grpc') return 'unknown';
      // MCP is JSON-RPC
      return yes(said === ir.protocol || (ir.protocol === 'json-rpc' && said === 'mcp'));
    default:
      return yes(said === ir.protocol && view.http === httpProtocols.has(ir.protocol));
  }
}

function wordsFail(ir: EgressRuleIr, message: AppMessage | undefined): 'operations' | 'tools' | 'recipients' | undefined {
  const allows = ir.effect === 'allow';
  const like = (patterns: readonly string[] | undefined, text: string): boolean => patterns === undefined || patterns.some((one) => matchText(one, text));
  switch (message?.protocol) {
    case 'graphql': {
      const words = ir.graphql;
      if (words === undefined) return undefined;
      const fields = words.fields;
      // `__typename` tells the name of a type and nothing else; clients add it everywhere.
      const inFields = fields === undefined || (allows ? message.fields.length > 0 && message.fields.every((one) => one === '__typename' || like(fields, one)) : message.fields.some((one) => like(fields, one)));
      return like(words.operations, message.operation) && like(words.names, message.name) && inFields ? undefined : 'operations';
    }
    case 'mcp':
      if (ir.protocol === 'json-rpc') return methodHolds(ir.jsonRpc?.methods, message.method, allows) ? undefined : 'operations';
      return mcpFails(ir, message, allows);
    case 'json-rpc':
      return methodHolds(ir.jsonRpc?.methods, message.method, allows) ? undefined : 'operations';
    case 'smtp':
      return smtpHolds(ir, message, allows) ? undefined : 'recipients';
    case 'postgres': {
      const words = ir.postgres;
      if (words === undefined) return undefined;
      // The end of a running command names nobody; what it could end was allowed by name.
      if (message.user === '') return allows ? undefined : 'operations';
      return like(words.users, message.user) && like(words.databases, message.database) ? undefined : 'operations';
    }
    case 'redis': {
      if (ir.redis === undefined) return undefined;
      if (message.command === '') return allows ? undefined : 'operations';
      const spelled = [message.command, message.command.replace(/ .*$/, '')].map((one) => one.toLowerCase());
      return ir.redis.commands.some((one) => spelled.some((given) => matchText(one.toLowerCase(), given))) ? undefined : 'operations';
    }
    default:
      return undefined;
  }
}

/** The transport alone carries nothing of the agent's, so that it comes with whatever is allowed, and is not what a denial of methods means. */
function methodHolds(methods: readonly string[] | undefined, method: string, allows: boolean): boolean {
  if (methods === undefined) return true;
  return method === '' ? allows : methods.some((one) => matchText(one, method));
}

/** What a session needs that only calls tools; meant where a rule that allows names tools and no methods. */
const toolSession: readonly string[] = ['initialize', 'ping', 'notifications/*', 'tools/list', 'tools/call', 'response'];

/** What a wildcard stands for where tools are allowed: the names that the specification recommends, and nothing that a server may read as something else. */
const toolName = /^[A-Za-z0-9_.-]{1,128}$/;

function mcpFails(ir: EgressRuleIr, message: Extract<AppMessage, { protocol: 'mcp' }>, allows: boolean): 'operations' | 'tools' | undefined {
  const words = ir.mcp;
  if (words === undefined) return undefined;
  const aboutTools = words.tools !== undefined || words.arguments !== undefined;
  const methods = words.methods ?? (aboutTools ? (allows ? toolSession : ['tools/call']) : undefined);
  if (!methodHolds(methods, message.method, allows)) return 'operations';
  if (message.method !== 'tools/call') return undefined;
  if (words.tools !== undefined && !words.tools.some((one) => matchText(one, message.tool) && (!allows || !one.includes('*') || toolName.test(message.tool)))) return 'tools';
  const given = words.arguments;
  if (given === undefined) return undefined;
  const held = allows ? given.every((one) => argumentAllowed(one, message.arguments)) : given.some((one) => argumentRefused(one, message.arguments));
  return held ? undefined : 'tools';
}

function smtpHolds(ir: EgressRuleIr, message: Extract<AppMessage, { protocol: 'smtp' }>, allows: boolean): boolean {
  const words = ir.smtp;
  if (words === undefined) return true;
  if (allows && words.starttls === 'required' && message.recipients.length > 0 && !message.tls) return false;
  const patterns = words.recipients?.map((one) => one.toLowerCase());
  if (patterns === undefined) return true;
  const named = (address: string): boolean => patterns.some((one) => matchText(one, address.toLowerCase()));
  return allows ? message.recipients.every(named) : message.recipients.some(named);
}

// ---- arguments of tools

type Values = Readonly<Record<string, unknown>>;
const isGroup = (value: unknown): value is Values => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The argument is there under exactly its name, no other spelling of the name is, and every value of it is accepted. */
function argumentAllowed(want: ArgumentIr, given: Values): boolean {
  let here: unknown = given;
  for (const name of want.path) {
    if (!isGroup(here) || !Object.hasOwn(here, name) || Object.keys(here).some((key) => key !== name && foldKey(key) === foldKey(name))) return false;
    here = here[name];
  }
  const list = Array.isArray(here) ? here : [here];
  return list.length > 0 && list.every((value) => accepted(want, value));
}

function accepted(want: ArgumentIr, value: unknown): boolean {
  if (want.values.some((one) => (typeof one === 'string' ? typeof value === 'string' && matchText(one, value) : one === value))) return true;
  return inRange(want, value);
}
function inRange(want: ArgumentIr, value: unknown): boolean {
  if (want.min === undefined && want.max === undefined) return false;
  return typeof value === 'number' && value >= (want.min ?? -Infinity) && value <= (want.max ?? Infinity);
}

/** The argument is there under any spelling that a server may take for it, and one value matches, or cannot be compared. */
function argumentRefused(want: ArgumentIr, given: Values): boolean {
  let here: unknown[] = [given];
  for (const name of want.path) here = here.flatMap(flat).flatMap((one) => (isGroup(one) ? Object.entries(one).filter(([key]) => foldKey(key) === foldKey(name)).map(([, value]) => value) : []));
  return here.flatMap(flat).some((value) => refused(want, value));
}
function flat(value: unknown): unknown[] {
  return Array.isArray(value) ? value.flatMap(flat) : [value];
}
function refused(want: ArgumentIr, value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return true;
  const text = String(value).toLowerCase();
  if (want.values.some((one) => matchText(String(one).toLowerCase(), text))) return true;
  return inRange(want, typeof value === 'string' && value.trim() !== '' ? Number(value) : value);
}
