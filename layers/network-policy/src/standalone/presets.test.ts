/** Presets in their published shape, each with its programs, load alone where programs are seen; elsewhere they are refused at their place, unless best effort is asked for. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { NemoError } from '@nemoclaw/contract';
import { readAlone } from './policy.ts';
import { systemClock } from './system.ts';

const preset = (name: string): string => fileURLToPath(new URL(`../../../../contract/vectors/policy/presets/${name}.yaml`, import.meta.url));

for (const [name, line] of [['registry', 24], ['team-chat', 21]] as const) {
  test(`${name}: where programs are seen it loads as it is`, () => {
    assert.ok(!readAlone(preset(name), false, systemClock.now(), undefined, true).notes.some((note) => note.includes('binaries')));
  });
  test(`${name}: where they are not, it is refused at their place`, () => {
    assert.throws(() => readAlone(preset(name), false, systemClock.now()), (error: unknown) => error instanceof NemoError && error.code === 'NEMO_E_POLICY_NEEDS' && error.where?.line === line && /binaries/.test(error.message) && /--best-effort/.test(error.fix));
  });
  test(`${name}: with best effort it loads, and what is wider for it is said of every rule`, () => {
    const alone = readAlone(preset(name), true, systemClock.now());
    const { allow } = alone.network.networkPolicy.egress;
    assert.ok(allow.length > 0 && allow.every(({ binaries }) => binaries?.length === 2));
    for (const i of allow.keys()) assert.ok(alone.notes.some((note) => note.startsWith(`egress.allow[${i}].binaries:`) && /holds for any/.test(note)), alone.notes.join('\n'));
  });
}
