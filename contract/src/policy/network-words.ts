/** Words of network rules about what is inside a connection: headers, application protocols, amounts and rates. */
import { isIP } from 'node:net';
import { z } from 'zod';
import { problem } from './issue.ts';

const text = z.string().max(2048);
const texts = z.union([text, z.array(text).min(1).max(64)]);
const names = (what: string) => z.array(z.string().min(1).max(256).regex(/^[^\s\0]+$/, `This is not ${what}`)).min(1).max(256);

/** What a rule may say that the application protocol is; unsaid: HTTP of any kind, or, on a port of its own without conditions, whatever it is. */
export const ruleProtocols = ['http', 'grpc', 'websocket', 'graphql', 'mcp', 'json-rpc', 'smtp', 'postgres', 'redis', 'tcp'] as const;
export type RuleProtocol = (typeof ruleProtocols)[number];
/** Those that come inside HTTP. */
export const httpProtocols: ReadonlySet<string> = new Set<RuleProtocol>(['http', 'grpc', 'websocket', 'graphql', 'mcp', 'json-rpc']);

// They are written anew by the proxy, or say how the message is framed, so a rule on them would decide on something that is not sent.
const ownHeaders: ReadonlySet<string> = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'te', 'trailer', 'upgrade', 'expect', 'keep-alive', 'proxy-connection', 'proxy-authorization', 'http2-settings']);

/** Header name in small letters -> accepted value(s), `*` as wildcard. */
export const headers = z.record(z.string().max(128), texts).superRefine((given, ctx) => {
  for (const name of Object.keys(given)) {
    const bad = (message: string, fix: string): void => ctx.addIssue({ code: 'custom', path: [name], message, params: problem('NEMO_E_POLICY_PATTERN', undefined, fix) });
    if (name !== name.toLowerCase()) bad(`${JSON.stringify(name)} has capital letters.`, `Write ${name.toLowerCase()}; case makes no difference in requests.`);
    else if (!/^[a-z0-9!#$%&'+.^_`|~-]+$/.test(name)) bad(`${JSON.stringify(name)} is not the name of a header.`, 'Write e.g. x-tenant.');
    else if (ownHeaders.has(name)) bad(`The header ${name} is written by the proxy itself.`, 'Remove it; the host is decided by `domain`, the rest is never forwarded as it came.');
  }
});

/** `600/m`, `10/s`, `1000/h` -> how many in how many ms. */
export const rate = z.string().transform((given, ctx) => {
  const match = /^([1-9]\d{0,6})\/(s|m|h)$/.exec(given);
  if (match !== null) return { count: Number(match[1]), windowMs: match[2] === 's' ? 1000 : match[2] === 'm' ? 60_000 : 3_600_000 };
  ctx.addIssue({ code: 'custom', message: 'This is not a rate.', params: problem('NEMO_E_POLICY_TYPE', undefined, 'Write it such as 10/s, 600/m or 1000/h.') });
  return z.NEVER;
});

export const graphql = z.strictObject({
  operations: z.array(z.enum(['query', 'mutation', 'subscription'])).min(1).max(3).optional(),
  /** Names of operations, `*` as wildcard. They are the client's own word. */
  names: names('the name of an operation').optional(),
  /** Fields at the top level of the operation. Allow: no other may occur. Escalate, deny: one of them occurs. */
  fields: names('the name of a field').optional(),
});

const range = z
  .strictObject({ min: z.number().optional(), max: z.number().optional() })
  .refine((given) => (given.min !== undefined || given.max !== undefined) && (given.min ?? -Infinity) <= (given.max ?? Infinity), 'This is an empty range');
/** What an argument may be: text with `*`, a number, true or false, a list of such, or a range of numbers. */
export const argument = z.union([text, z.number(), z.boolean(), z.array(z.union([text, z.number(), z.boolean()])).min(1).max(64), range]);

export const mcp = z.strictObject({
  /** JSON-RPC methods, `*` as wildcard; `response` is an answer to the server. */
  methods: names('a method').optional(),
  /** Names of tools; only `tools/call` names one. */
  tools: names('the name of a tool').optional(),
  /** Argument of the tool, dotted where it lies deeper -> what it may be. Allow: all must be there and match. Escalate, deny: one is there and matches. */
  arguments: z.record(z.string().min(1).max(256), argument).optional(),
});
export const jsonRpc = z.strictObject({ methods: names('a method').optional() });
export const smtp = z.strictObject({
  /** Addresses with `*`. Allow: every recipient matches. Escalate, deny: one does. */
  recipients: z.array(z.string().min(1).max(320).regex(/^[^\s<>"]+$/, 'This is not an address')).min(1).max(256).optional(),
  starttls: z.enum(['required', 'allowed']).optional(),
});

/** Names as the client gives them when it connects; what is asked inside is not read. */
export const postgres = z.strictObject({ users: names('a user').optional(), databases: names('a database').optional() });
/** Redis commands that have others below them (`CONFIG GET`), those of Sentinel and of the usual modules among them. */
export const redisContainers: ReadonlySet<string> = new Set(['ACL', 'CLIENT', 'CLUSTER', 'COMMAND', 'CONFIG', 'DEBUG', 'FT.CONFIG', 'FT.CURSOR', 'FUNCTION', 'HOTKEYS', 'JSON.DEBUG', 'LATENCY', 'MEMORY', 'MODULE', 'OBJECT', 'PUBSUB', 'SCRIPT', 'SENTINEL', 'SLOWLOG', 'XGROUP', 'XINFO']);

/** Commands, `*` as wildcard, capital or small; one of two words (`config get`) also by its first. */
const redisCommand = z.string().regex(/^[A-Za-z*][A-Za-z0-9.*_-]{0,63}( [A-Za-z*][A-Za-z0-9*_-]{0,63})?$/, 'This is not a command').refine((given) => {
  const [first = '', second] = given.toUpperCase().split(' ');
  return second === undefined || first.includes('*') || redisContainers.has(first);
}, 'This command has no second word that rules could name');
export const redis = z.strictObject({ commands: z.array(redisCommand).min(1).max(256) });

/** An address, or a block of them: `10.1.0.0/16`. */
export const addressBlock = z.string().refine((given) => {
  const [address = '', bits, ...rest] = given.split('/');
  const family = isIP(address);
  return family !== 0 && !address.includes('%') && rest.length === 0 && (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)));
}, 'This is not an IP address or a block of them');
