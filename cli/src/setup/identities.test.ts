/** Who may remove the system users: with a user made for this, lists in a folder of our own and processes that are only folders. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { placesFrom } from '../places.ts';
import { removeIdentities } from './identities.ts';
import { joinHost, noteMade } from './instances.ts';

const temporary = mkdtempSync(join(tmpdir(), 'nemoclaw-identities-'));
after(() => rmSync(temporary, { recursive: true, force: true }));
const user = `nct-${process.pid}`;
const exists = (): boolean => spawnSync('getent', ['passwd', user]).status === 0;

test('the last instance on a host removes the users, whoever made them, and no other does', { skip: process.getuid?.() === 0 ? false : 'needs root, to make a user' }, () => {
  const host = { folder: join(temporary, 'users'), proc: join(temporary, 'proc') };
  const [one, two, gone] = ['one', 'two', 'gone'].map((name) => placesFrom({ NEMOCLAW_ROOT: join(temporary, name) })) as [ReturnType<typeof placesFrom>, ReturnType<typeof placesFrom>, ReturnType<typeof placesFrom>];
  execFileSync('useradd', ['--system', '--no-create-home', user]);
  try {
    for (const places of [gone, one, two]) joinHost(places, host);
    noteMade(host, ['user', user]);
    rmSync(gone.root, { recursive: true });
    const runs = join(host.proc, '42');
    mkdirSync(runs, { recursive: true });
    symlinkSync('/opt/nemoclaw/openshell-supervisor', join(runs, 'exe'));
    writeFileSync(join(runs, 'cmdline'), '/x/openshell-supervisor\0--config\0/elsewhere/etc/nemoclaw/openshelld.json\0');
    assert.deepEqual(removeIdentities(one, host), [`${user}: used by the instance of ${two.etc}, /elsewhere/etc/nemoclaw`]);
    assert.deepEqual(removeIdentities(two, host), [`${user}: used by the instance of /elsewhere/etc/nemoclaw`], 'one that is not on the list, but runs');
    assert.ok(exists());
    rmSync(runs, { recursive: true });
    joinHost(one, host);
    const damaged = join(host.folder, 'instance-x');
    writeFileSync(damaged, 'not a root');
    assert.deepEqual(removeIdentities(one, host), [`${user}: used by the instance of ${damaged}`], 'what cannot be read counts as in use');
    rmSync(damaged);
    assert.deepEqual(removeIdentities(one, host), []);
    assert.ok(!exists() && !existsSync(host.folder), 'nothing stays');
  } finally {
    spawnSync('userdel', [user]);
  }
});
