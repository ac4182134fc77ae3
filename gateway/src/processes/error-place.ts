/** An error that nobody caught, for a log: what kind it is and where it arose. Its message may quote what was read. Pure. */

/** e.g. `SyntaxError at JSON.parse (<anonymous>)`; `frames` at most. */
export function errorPlace(error: unknown, frames: number): string {
  if (!(error instanceof Error)) return 'what was thrown is no error';
  const code = 'code' in error && typeof error.code === 'string' && /^[A-Z0-9_]{1,64}$/.test(error.code) ? ` ${error.code}` : '';
  const stack = (error.stack ?? '').replace(error.message, '');
  const at = stack.split('\n').filter((line) => line.startsWith('    at ')).slice(0, frames);
  return `${error.constructor.name}${code}${at.map((line) => ` ${line.trim()}`).join(',')}`;
}
