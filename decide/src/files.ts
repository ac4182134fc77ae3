/** File rules: what `filesystem` and `process.exec` say of a path as the sandbox sees it, by the contract's one resolution. The kernel enforces; this names the rule of a hold. */
import { sandboxFiles, type FileOp, type RuleRef } from '@nemoclaw/contract';
import type { FileRuleIr, PolicyIr } from './ir.ts';

export interface FileVerdict {
  readonly verdict: 'allow' | 'deny' | 'escalate';
  readonly refs: readonly RuleRef[];
  readonly reason: string;
}

const { canonical, isBelow, isShown, ownDevices, privateFolders, scratch, specialPlaces, workspace } = sandboxFiles;

/** Whether an operation on `path` can touch something the rule is about: also from above, when a folder is moved or removed. */
function touches(rule: FileRuleIr, path: string, op: FileOp): boolean {
  return isBelow(path, rule.path) || ((op === 'delete' || op === 'rename') && isBelow(rule.path, path));
}

const patterns = (rules: readonly FileRuleIr[]): string[] => rules.map((rule) => (rule.folder ? `${rule.path}/**` : rule.path));

interface Resolved {
  readonly rules: sandboxFiles.FileRules;
  /** What stays where it is: mounts of its own. */
  readonly fixed: ReadonlySet<string>;
  readonly exec: { readonly allow: readonly string[]; readonly escalate: readonly string[] };
  refOf(rule: string): RuleRef;
}
const resolved = new WeakMap<PolicyIr['files'], Resolved>();

function resolve(files: PolicyIr['files']): Resolved {
  const known = resolved.get(files);
  if (known) return known;
  const rules = sandboxFiles.rulesOf({ level: files.workspaceWritable ? 'workspace' : 'read-only', readOnly: patterns(files.readOnly), readWrite: patterns(files.readWrite), deny: patterns(files.deny) });
  const refs = new Map([...files.readOnly, ...files.readWrite, ...files.deny, ...files.execAllow].map((rule) => [rule.ref.id, rule.ref]));
  const own: Resolved = {
    rules,
    fixed: new Set([workspace, ...scratch, ...privateFolders(rules), ...specialPlaces(rules).map((place) => place.path)]),
    exec: { allow: patterns(files.execAllow), escalate: patterns(files.execEscalate) },
    refOf: (rule) => refs.get(rule) ?? { id: rule === 'view' ? 'filesystem.view' : rule.split(':')[0] ?? rule },
  };
  resolved.set(files, own);
  return own;
}

/** The verdict on one path; `path` is absolute and, but for the links of the sandbox's root (/bin, /lib …), resolved. */
export function decideFile(ir: PolicyIr, path: string, op: FileOp): FileVerdict {
  if (!isPlainPath(path)) return { verdict: 'deny', refs: [{ id: 'filesystem.default' }], reason: 'The path is not absolute and plain.' };
  const at = canonical(path);
  const denied = ir.files.deny.find((r) => touches(r, at, op));
  if (denied) return { verdict: 'deny', refs: [denied.ref], reason: `The policy denies this path (${denied.ref.id}).` };
  const open = openFor(ir, at, op);
  if (open.verdict === 'deny') return open;
  const asked = ir.files.escalate.find((r) => r.on.includes(op) && touches(r, at, op)) ?? (op === 'exec' ? ir.files.execEscalate.find((r) => isBelow(at, r.path)) : undefined);
  return asked ? { verdict: 'escalate', refs: [asked.ref], reason: `A person decides on this ${op} (${asked.ref.id}).` } : open;
}

/** Whether the path lies open for the operation before deny and escalate rules are asked. */
export function inView(ir: PolicyIr, path: string, op: FileOp): boolean {
  return isPlainPath(path) && openFor(ir, canonical(path), op).verdict === 'allow';
}

function isPlainPath(path: string): boolean {
  return path === '/' || (path.startsWith('/') && path.split('/').slice(1).every((s) => s !== '' && s !== '.' && s !== '..'));
}

const absent: FileVerdict = { verdict: 'deny', refs: [{ id: 'filesystem.default' }], reason: 'This does not exist in the sandbox.' };

function openFor(ir: PolicyIr, at: string, op: FileOp): FileVerdict {
  const own = resolve(ir.files);
  const entry = op === 'create' || op === 'delete' || op === 'rename';
  // a name is made, moved or taken away in the folder that holds it
  const place = entry ? at.slice(0, Math.max(1, at.lastIndexOf('/'))) : at;
  const grant = own.rules.grantAt(place);
  if (grant === undefined || !isShown(place, own.rules)) return absent;
  const ref = grant.rule === 'view' && grant.access === 'write' ? { id: 'filesystem.private' } : own.refOf(grant.rule);
  const allow = (reason: string): FileVerdict => ({ verdict: 'allow', refs: [ref], reason });
  const deny = (reason: string): FileVerdict => ({ verdict: 'deny', refs: [ref], reason });
  if (op === 'exec') {
    const exec = sandboxFiles.execRuleAt(own.exec, at);
    if (exec.allowed) return exec.rule === 'view' ? allow('Every program may be run.') : { verdict: 'allow', refs: [own.refOf(exec.rule)], reason: 'The program may be run.' };
    return exec.rule === 'view' ? deny('There are no programs.') : { verdict: 'deny', refs: [{ id: 'process.exec.default' }], reason: 'The program is not among those that may be run.' };
  }
  // a Unix socket may be connected to where its folder is read-only: nothing in the folder changes
  if (op === 'read' || op === 'connect') return allow('This may be read.');
  if (op === 'write' && ownDevices.includes(at)) return allow('Every sandbox has this device.');
  if (grant.access !== 'write') return grant.rule === 'view' ? { verdict: 'deny', refs: absent.refs, reason: 'This is read-only in every sandbox.' } : deny(`This is read-only (${ref.id}).`);
  if ((op === 'delete' || op === 'rename') && own.fixed.has(at)) return deny('This stays where it is.');
  return allow('This may be written.');
}
