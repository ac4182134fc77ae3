/** Which names a sandbox can have. */

/** Words of the command line; none of them can name a sandbox. */
export const reservedNames: ReadonlySet<string> = new Set([
  'onboard', 'list', 'status', 'doctor', 'up', 'down', 'version', 'help', 'run', 'exec', 'connect', 'logs', 'stop', 'start', 'pause', 'resume',
  'destroy', 'rebuild', 'diff', 'commit', 'discard', 'snapshot', 'credentials', 'policy', 'approvals', 'inference', 'audit', 'blueprint', 'top', 'console', 'node', 'sandbox', 'all', 'none', 'demo',
]);
const namePattern = /^[a-z][a-z0-9-]{0,31}$/;

/** Why `name` cannot name a sandbox, one sentence; undefined if it can. */
export function nameProblem(name: string): string | undefined {
  if (!namePattern.test(name)) return 'A name starts with a small letter and has at most 32 small letters, digits and dashes.';
  if (reservedNames.has(name)) return `'${name}' is a word of the command line.`;
  return undefined;
}
