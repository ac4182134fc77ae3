/** Names of the host that a sandbox does not show are on record when they are looked up, however they are spelled from the root; ordinary lookups are not. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestInstance, TestService } from './openshelld-test-instance.ts';
import { oneInstance } from './openshelld-test-layer.ts';

describe('lookups of what the view hides', process.getuid?.() === 0 ? {} : { skip: 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  oneInstance((made, its) => {
    instance = made;
    gateway = its;
  });

  it('are told from the root, past the folders that programs look in by habit, and through no link', async () => {
    const hidden = mkdtempSync('/mnt/nemoclaw-hidden-');
    try {
      writeFileSync(join(hidden, 'file'), 'x');
      const folder = await instance.workspace('project');
      await gateway.call('create', 'v', instance.plan('isolation: { network: none, filesystem: workspace, syscalls: standard }'), folder.id, 'worker:1');
      const told = [`${hidden}/file`, `/opt/..//${hidden.slice(1)}/file`, `/usr/..${hidden}/file`, `/tmp/./..${hidden}/file`, `/workspace/..${hidden}/file`, `//${hidden}/file`];
      const habits = ['/usr/lib/nothing-here', '/usr/lib/x/../nothing-here', '/opt/../usr/nothing-here', `/mnt/nothing-here-${process.pid}`];
      // From where one stands, or by a link of the agent's own, the name says nothing of where it leads.
      const unsaid = [`..${hidden}/file`, '/workspace/link/file'];
      const script = `cd /workspace; ln -s ${hidden} link; for f in ${[...habits, ...unsaid, ...told].join(' ')}; do cat "$f"; done`;
      const ran = await gateway.run('v', 'look', ['/bin/sh', '-c', script]);
      assert.equal(ran.stderr.split('No such file').length - 1, told.length + habits.length + unsaid.length);
      const ledger = await instance.service('ledger');
      const seen = (): string[] => ledger.news.flatMap((m) => (m.t === 'event' && m.event.sandbox === 'v' && m.event.layer === 'view' ? [String(m.event.data?.['path'])] : []));
      // The last one looked up is told last.
      await ledger.saw('event', (m) => m.event.sandbox === 'v' && m.event.layer === 'view' && m.event.data?.['path'] === told.at(-1));
      assert.deepEqual(seen().sort(), told.sort());
      await gateway.call('destroy', 'v');
    } finally {
      rmSync(hidden, { recursive: true });
    }
  });
});
