/** The whole policy as Cedar text: for validation, proof, and the test that `decide` agrees with Cedar itself. */
import { emptyGroup, isBlanket, type EgressGroup, type EgressRule } from './egress.ts';
import { actionScope, quoted, triggerPolicy } from './cedar-words.ts';
import { narrower } from './hosts.ts';
import type { FileRuleIr } from './ir.ts';
import type { CompiledPolicy } from './policy.ts';

/** A way of looking at a host: a request inside a connection, opening one, resolving a name. */
type Look = 'net:http' | 'net:connect' | 'net:dns';
const looks: readonly Look[] = ['net:http', 'net:connect', 'net:dns'];

/**
 * Policies by id. Ids are those of the rules, with a suffix where one rule makes several policies.
 * Requests are written by `cedarQueries`: facts that Cedar has no words for (path patterns, query conditions) come as sets of the ids or patterns that hold.
 */
export function toCedar(policy: CompiledPolicy): Map<string, string> {
  const out = new Map<string, string>();
  const add = (id: string, effect: 'permit' | 'forbid', scope: string, condition?: string, annotation = ''): void => {
    out.set(id, `${annotation}${effect}(${effect === 'permit' ? principal(policy) : 'principal'}, ${scope}, resource)${condition === undefined ? '' : ` when { ${condition} }`}`.concat(';'));
  };
  const ir = policy.ir;
  for (const rule of ir.allowed) add(rule.ref.id, 'permit', actionScope(rule.pattern));
  for (const rule of ir.denied) add(rule.ref.id, 'forbid', actionScope(rule.pattern));
  for (const prefix of ['fs', 'process']) add(`local:${prefix}`, 'permit', actionScope(`${prefix}.*`), 'context.atModel');
  for (const trigger of ir.triggers) out.set(trigger.ref.id, triggerPolicy(trigger, ir.organization));
  if (ir.networkNone !== null) add(ir.networkNone.id, 'forbid', `action in [${looks.map((l) => `Action::${quoted(l)}`).join(', ')}]`);
  networkText(policy, out, add);
  fileText(policy, add);
  for (const call of ir.calls) add(call.ref.id, 'permit', 'action == Action::"sys:call"', `context.name == ${quoted(call.name)} && context.approved`, '@advice("require_approval")\n');
  return out;
}

/** The same as one text, each policy after its `@id`. */
export function toCedarText(policy: CompiledPolicy): string {
  return [...toCedar(policy)].map(([id, text]) => `@id(${quoted(id)})\n${text}\n`).join('\n');
}

function principal(policy: CompiledPolicy): string {
  return policy.role === '' ? 'principal' : `principal in Role::${quoted(policy.role)}`;
}

type Add = (id: string, effect: 'permit' | 'forbid', scope: string, condition?: string, annotation?: string) => void;

// ---- hosts

function networkText(policy: CompiledPolicy, out: Map<string, string>, add: Add): void {
  const domains = [...new Set(policy.ir.egress.map((r) => r.domain))];
  const groups = new Map(domains.map((d) => [d, policy.egress.at(d, () => emptyGroup(d))]));
  for (const look of looks) {
    const decides = new Map(domains.map((d) => [d, decidesText(groups.get(d), look)]));
    for (const [domain, group] of groups) {
      const before = domains.filter((d) => narrower(d, domain)).flatMap((d) => decides.get(d) ?? []).map((text) => `!(${text})`);
      for (const rule of [...group.deny, ...group.escalate, ...group.lets, ...group.allow]) ruleText(rule, look, before, out, add);
    }
  }
}

/** When the group of a domain says something, so that less specific ones are not asked; undefined = never. */
function decidesText(group: EgressGroup | undefined, look: Look): string | undefined {
  if (group === undefined) return undefined;
  const host = hostText(group.domain);
  if (group.allow.length > 0 || (look === 'net:dns' && group.escalate.length + group.lets.length > 0)) return host;
  const rules = [...group.deny, ...group.escalate, ...group.lets].flatMap((rule) => matchText(rule, look) ?? []);
  return rules.length === 0 ? undefined : `${host} && (${rules.join(' || ')})`;
}

function ruleText(rule: EgressRule, look: Look, before: readonly string[], out: Map<string, string>, add: Add): void {
  const match = matchText(rule, look);
  if (match === undefined) return;
  const name = rule.wide ? `${rule.ir.ref.id}:watch` : rule.ir.ref.id;
  const id = look === 'net:http' ? name : `${name}:${look.slice(4)}`;
  const condition = [hostText(rule.ir.domain), match, ...before].join(' && ');
  const scope = `action == Action::${quoted(look)}`;
  if (rule.ir.effect === 'deny') return add(id, 'forbid', scope, condition);
  // at a connection, what depends on the request is decided when the request is seen; a name only says that something may be
  const asks = rule.ir.effect === 'escalate' && rule.ir.monitor !== true && (look === 'net:http' || (look === 'net:connect' && !rule.conditional));
  add(asks ? `${id}:permit` : id, 'permit', scope, condition);
  if (asks) out.set(id, `@advice("require_approval")\nforbid(principal, ${scope}, resource) when { ${condition} } unless { context.approved };`);
}

/** The condition of a rule besides its host; undefined if the rule says nothing at this look. */
function matchText(rule: EgressRule, look: Look): string | undefined {
  const ir = rule.ir;
  const port = ir.ports.length === 0 ? 'true' : `[${ir.ports.join(', ')}].contains(context.port)`;
  if (look === 'net:dns') return ir.effect !== 'deny' || isBlanket(rule) ? 'true' : undefined;
  // facts that Cedar has no words for come as the ids of the rules for which they hold
  const inside = `context.insides.contains(${quoted(ir.ref.id)})`;
  if (look === 'net:connect') return ir.effect === 'deny' && rule.conditional ? undefined : ir.binaries === undefined ? port : `${port} && ${inside}`;
  const parts = rule.inside ? [port, inside] : rule.wide && ir.binaries !== undefined ? [port, `context.insides.contains(${quoted(`${ir.ref.id}:watch`)})`] : [port];
  if (ir.methods.length > 0) parts.push(`[${ir.methods.map(quoted).join(', ')}].contains(context.method)`);
  if (ir.paths.length > 0) parts.push(`context.${ir.effect === 'allow' ? 'paths' : 'pathsLoosely'}.containsAny([${ir.paths.map(quoted).join(', ')}])`);
  if (ir.query !== undefined) parts.push(`context.queries.contains(${quoted(ir.ref.id)})`);
  return parts.join(' && ');
}

function hostText(domain: string): string {
  if (domain === '*') return 'context.host != ""';
  // a name below the suffix; addresses have no suffix
  if (domain.startsWith('?.')) return `(!context.isAddress && context.host like ${quoted(`*${domain.slice(1)}`)} && !(context.host like ${quoted(`*.*${domain.slice(1)}`)}))`;
  return domain.startsWith('*.') ? `(!context.isAddress && context.host like ${quoted(domain)})` : `context.host == ${quoted(domain)}`;
}

// ---- files

function fileText(policy: CompiledPolicy, add: Add): void {
  const files = policy.ir.files;
  for (const rule of files.deny) add(rule.ref.id, 'forbid', fileScope(['read', 'write', 'create', 'delete', 'rename', 'exec', 'connect']), touchText(rule));
  for (const rule of files.escalate) add(rule.ref.id, 'forbid', fileScope(rule.on), `(${touchText(rule)}) && !context.approved`, '@advice("require_approval")\n');
  for (const rule of files.execEscalate) add(rule.ref.id, 'forbid', fileScope(['exec']), `(${coverText(rule)}) && !context.approved`, '@advice("require_approval")\n');
  // what lies open without them is the sandbox's view, a fact of the launcher rather than a rule
  add('filesystem.view', 'permit', fileScope(['read', 'write', 'create', 'delete', 'rename', 'exec', 'connect']), 'context.inView');
}

function fileScope(ops: readonly string[]): string {
  return `action in [${ops.map((op) => `Action::${quoted(`file:${op}`)}`).join(', ')}]`;
}
function coverText(rule: FileRuleIr): string {
  return `context.path == ${quoted(rule.path)} || context.path like ${likePrefix(rule.path)}`;
}
function touchText(rule: FileRuleIr): string {
  return `${coverText(rule)} || (context.moves && context.pathsBelow.contains(${quoted(rule.path)}))`;
}
/** Paths of rules hold no wildcard, so only our own `*` is one. */
function likePrefix(path: string): string {
  return quoted(`${path}/*`);
}
