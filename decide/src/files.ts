/** File rules: what `filesystem` and `process.exec` say of a path as the sandbox sees it. The kernel enforces; this explains, and names the rule of a hold. */
import type { FileOp, RuleRef } from '@nemoclaw/contract';
import type { FileRuleIr, PolicyIr } from './ir.ts';

export interface FileVerdict {
  readonly verdict: 'allow' | 'deny' | 'escalate';
  readonly refs: readonly RuleRef[];
  readonly reason: string;
}

/** Whether the rule's object is `path`, or above it. */
export function covers(rule: { readonly path: string; readonly subtree: boolean }, path: string): boolean {
  return path === rule.path || (rule.subtree && path.startsWith(`${rule.path}/`));
}

/** Whether an operation on `path` can touch something the rule is about: also from above, when a folder is moved or removed. */
function touches(rule: FileRuleIr, path: string, op: FileOp): boolean {
  return covers(rule, path) || ((op === 'delete' || op === 'rename') && rule.path.startsWith(`${path}/`));
}

/** What every sandbox has, read-only. */
export const viewFolders = ['/usr', '/bin', '/sbin', '/lib', '/lib64', '/etc', '/opt', '/proc', '/dev'] as const;
/** Private to the sandbox, writable, gone with it. */
export const privateFolders = ['/tmp', '/home', '/dev/shm'] as const;
const below = (folders: readonly string[], path: string): boolean => folders.some((f) => path === f || path.startsWith(`${f}/`));

/** The verdict on one path; `path` is absolute and resolved. */
export function decideFile(ir: PolicyIr, path: string, op: FileOp): FileVerdict {
  const rules = ir.files;
  if (!isPlainPath(path)) {
    return { verdict: 'deny', refs: [{ id: 'filesystem.default' }], reason: 'The path is not absolute and plain.' };
  }
  const denied = rules.deny.find((r) => touches(r, path, op));
  if (denied) return { verdict: 'deny', refs: [denied.ref], reason: `The policy denies this path (${denied.ref.id}).` };
  const open = openFor(ir, path, op);
  if (open.verdict === 'deny') return open;
  const asked = rules.escalate.find((r) => r.on.includes(op) && touches(r, path, op)) ?? (op === 'exec' ? rules.execEscalate.find((r) => covers(r, path)) : undefined);
  return asked ? { verdict: 'escalate', refs: [asked.ref], reason: `A person decides on this ${op} (${asked.ref.id}).` } : open;
}

/** Whether the path lies open for the operation before deny and escalate rules are asked. */
export function inView(ir: PolicyIr, path: string, op: FileOp): boolean {
  return isPlainPath(path) && openFor(ir, path, op).verdict === 'allow';
}

function isPlainPath(path: string): boolean {
  return path === '/' || (path.startsWith('/') && path.split('/').slice(1).every((s) => s !== '' && s !== '.' && s !== '..'));
}

function openFor(ir: PolicyIr, path: string, op: FileOp): FileVerdict {
  const rules = ir.files;
  const allow = (ref: RuleRef, reason: string): FileVerdict => ({ verdict: 'allow', refs: [ref], reason });
  if (op === 'exec' && rules.execAllow.length > 0) {
    const rule = rules.execAllow.find((r) => covers(r, path));
    return rule ? allow(rule.ref, 'The program may be run.') : { verdict: 'deny', refs: [{ id: 'process.exec.default' }], reason: 'The program is not among those that may be run.' };
  }
  const write = rules.readWrite.find((r) => covers(r, path));
  const read = rules.readOnly.find((r) => covers(r, path));
  // of two lists that name a path, the nearer one is meant; of the same path, the stricter
  if (write && (read === undefined || write.path.length > read.path.length)) return allow(write.ref, 'The policy lets this be written.');
  // a Unix socket may be connected to where its folder is read-only: nothing in the folder changes
  const reading = op === 'read' || op === 'exec' || op === 'connect';
  if (read) return reading ? allow(read.ref, 'The policy lets this be read.') : { verdict: 'deny', refs: [read.ref], reason: `This is read-only (${read.ref.id}).` };
  if (below(['/workspace'], path)) {
    if (reading || (ir.files.workspaceWritable && path !== '/workspace')) return allow({ id: 'isolation.filesystem' }, 'This is the workspace.');
    return { verdict: 'deny', refs: [{ id: 'isolation.filesystem' }], reason: path === '/workspace' ? 'The workspace itself stays where it is.' : 'The workspace is read-only.' };
  }
  if (below(privateFolders, path)) return allow({ id: 'filesystem.private' }, 'This belongs to the sandbox alone.');
  if (reading && below(viewFolders, path)) return allow({ id: 'filesystem.view' }, 'Every sandbox may read this.');
  return { verdict: 'deny', refs: [{ id: 'filesystem.default' }], reason: below(viewFolders, path) ? 'This is read-only in every sandbox.' : 'This does not exist in the sandbox.' };
}
