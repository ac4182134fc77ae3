/** Small values of policy files with units: sizes, durations, names, and the patterns rules are made of. */
import { z } from 'zod';
import { problem } from './issue.ts';

const sizeUnits: Readonly<Record<string, number>> = { '': 1, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, K: 1e3, M: 1e6, G: 1e9, T: 1e12 };

/** `4Gi`, `512Mi` or a number of bytes -> bytes. */
export const size = z.union([z.string(), z.number()]).transform((given, ctx) => {
  const match = /^(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|K|M|G|T)?$/.exec(String(given));
  const bytes = match === null ? Number.NaN : Math.floor(Number(match[1]) * (sizeUnits[match[2] ?? ''] ?? Number.NaN));
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  ctx.addIssue({ code: 'custom', message: 'This is not a size.', params: problem('NEMO_E_POLICY_TYPE', undefined, 'Write a size such as 512Mi or 4Gi.') });
  return z.NEVER;
});

const timeUnits: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `15m`, `25s`, `1h` -> ms; at most 30 days. */
export const duration = z.string().transform((given, ctx) => {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(given);
  const ms = match === null ? Number.NaN : Number(match[1]) * (timeUnits[match[2] ?? ''] ?? Number.NaN);
  if (ms > 0 && ms <= 30 * 86_400_000) return ms;
  ctx.addIssue({ code: 'custom', message: 'This is not a length of time.', params: problem('NEMO_E_POLICY_TYPE', undefined, 'Write it such as 25s, 15m or 1h.') });
  return z.NEVER;
});

const actionName = /^[a-z][a-zA-Z0-9_-]*(\.[a-zA-Z][a-zA-Z0-9_-]*)*$/;
const actionHelp = 'Write a dotted name such as crm.read, or everything below a name: admin.*';

/** A dotted action name, e.g. `crm.read`. */
export const action = z.string().max(128).superRefine((name, ctx) => {
  if (!actionName.test(name)) ctx.addIssue({ code: 'custom', message: `${JSON.stringify(name)} is not an action name.`, params: problem('NEMO_E_POLICY_PATTERN', undefined, 'Write a dotted name such as crm.read.') });
});

function actionOr(wide: boolean) {
  return z.string().max(128).superRefine((given, ctx) => {
    if (given === '*' && wide) return;
    if (given === '*') {
      ctx.addIssue({ code: 'custom', message: '`*` is too wide here.', params: problem('NEMO_E_POLICY_PATTERN', 'It would allow every action, also those that nobody has thought of yet.', actionHelp) });
      return;
    }
    if (!actionName.test(given.endsWith('.*') ? given.slice(0, -2) : given)) {
      ctx.addIssue({ code: 'custom', message: `${JSON.stringify(given)} is not an action or a group of actions.`, params: problem('NEMO_E_POLICY_PATTERN', 'A wildcard stands only at the end, after a dot.', actionHelp) });
    }
  });
}
/** `crm.read` or `admin.*` (everything below admin, not `admin` itself). */
export const allowedAction = actionOr(false);
/** The same, and `*`: where a rule takes away, all is not too much. */
export const deniedAction = actionOr(true);

/** A path or `dir/**` (dir and everything below), absolute as seen in the sandbox. Decisions are made on objects, so nothing else can be a file pattern. */
export const filePattern = z.string().max(4096).superRefine((given, ctx) => {
  const path = given.endsWith('/**') ? given.slice(0, -3) : given;
  const bad = (message: string, why: string, fix: string): void => ctx.addIssue({ code: 'custom', message, params: problem('NEMO_E_POLICY_PATTERN', why, fix) });
  if (/[*?[\]{}]/.test(path)) {
    bad(`${JSON.stringify(given)} is not accepted as a file pattern.`, 'The kernel decides on files and directories, not on spellings of names: a wildcard inside a path could not be enforced the same way in every tier.', 'Name one path, or a directory and all below it: /workspace/keys/**');
  } else if (!path.startsWith('/') || path === '' || path === '/') {
    if (given === '/' || given === '/**') bad(`${JSON.stringify(given)} is too wide.`, 'It names the whole file system.', 'Name the directories that are meant.');
    else bad(`${JSON.stringify(given)} is not an absolute path.`, 'Paths are those seen in the sandbox.', 'Write it from the root: /workspace/…');
  } else if (path.split('/').slice(1).some((part) => part === '' || part === '.' || part === '..') || path.includes('\0')) {
    bad(`${JSON.stringify(given)} is not a plain path.`, 'It has empty, . or .. parts.', 'Write the path as it really is.');
  }
});

/** An HTTP method in upper case. */
export const method = z.string().superRefine((given, ctx) => {
  if (!/^[A-Z][A-Z-]{0,23}$/.test(given)) ctx.addIssue({ code: 'custom', message: `${JSON.stringify(given)} is not a method.`, params: problem('NEMO_E_POLICY_TYPE', 'Methods are upper case.', /^[a-z-]+$/i.test(given) ? `Write ${given.toUpperCase()}.` : 'Write e.g. GET.') });
});

/** A URL path pattern: `*` within one segment; `**`, a whole segment, stands for any number of segments. */
export const urlPath = z.string().max(2048).superRefine((given, ctx) => {
  if (!given.startsWith('/') || /[?#\s\\]/.test(given) || given.split('/').some((s) => s === '.' || s === '..') || given.split('/').some((s) => s.includes('**') && s !== '**')) {
    ctx.addIssue({ code: 'custom', message: `${JSON.stringify(given)} is not a path pattern.`, params: problem('NEMO_E_POLICY_PATTERN', 'It must start with / and hold no query, fragment, space or dot segment.', 'Write e.g. /v1/orders/* or /v1/**') });
  }
});

export const port = z.int().min(1).max(65_535);
