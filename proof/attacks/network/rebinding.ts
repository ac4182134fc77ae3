/** Names that lead outside first and inside next, by a real resolver: tried in namespaces where a public address is at hand without a way to the world. */
import { join } from 'node:path';
import type { Checks } from '../../harness/checks.ts';
import { run } from '../../harness/instance.ts';

export async function rebinding(check: Checks): Promise<void> {
  check.section('the way out: names that change their mind');
  const { out, err, code } = await run('/usr/bin/unshare', ['--net', '--mount', '--kill-child', '--', process.execPath, join(import.meta.dirname, 'rebinding-inside.ts')], { timeoutMs: 300_000 });
  let statements = 0;
  for (const line of out.split('\n')) {
    if (!line.startsWith('{')) continue;
    const { statement, holds, detail } = JSON.parse(line) as { readonly statement: string; readonly holds: boolean; readonly detail: unknown };
    statements += 1;
    check.that(statement, holds, detail);
  }
  check.that('every name was tried', code === 0 && statements >= 18, { code, statements, err });
}
