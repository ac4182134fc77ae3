/** The kept layer of an overlay workspace: looked at, carried out in the folder, discarded, copied and restored. */
import { NemoError, type LayerCommit, type LayerDiff, type LayerOp, type LayerSnapshots } from '@nemoclaw/contract';
import { gatewayEvent } from '../backend.ts';
import type { House } from '../house.ts';
import { mayUse } from './drive.ts';
import type { LiveSandbox } from './live.ts';

const snapshotName = /^[a-z0-9-]{1,40}$/;

function layerError(name: string, cause: unknown): NemoError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const why = cause instanceof Error ? cause.message : String(cause);
  if (code === 'no-layer') return new NemoError('NEMO_E_NOT_FOUND', { what: `${name} has no layer of its own.`, why: 'Its policy writes to the workspace itself, or it has never run.', fix: 'Say `overlay: true` under `filesystem` in its sandbox policy and start it again.' });
  if (code === 'running') return new NemoError('NEMO_E_STATE', { what: `${name} runs.`, why: 'The layer under a running sandbox must not change.', fix: `Run \`nemoclaw ${name} stop\` first.` });
  if (code === 'no-snapshot') return new NemoError('NEMO_E_NOT_FOUND', { what: 'There is no snapshot of that name.', fix: `Look at \`nemoclaw ${name} snapshot list\`.` });
  if (code === 'exists' || code === 'busy' || code === 'full') return new NemoError('NEMO_E_CONFLICT', { what: `${name}: ${why}.` });
  if (code === 'registration') return new NemoError('NEMO_E_WORKSPACE', { what: `The workspace of ${name} is not registered now.`, fix: `Run \`nemoclaw ${name} start\`, which registers it, and stop it again.` });
  return new NemoError('NEMO_E_BACKEND', { what: `The layer of ${name} could not be used.`, why, cause });
}

/** One at a time for each sandbox, in turn with its starts and stops. */
function asked(house: House, name: string, uid: number, op: LayerOp, snapshot: string, before?: (live: LiveSandbox) => Promise<void>): Promise<unknown> {
  const live = house.sandboxes.must(name);
  mayUse(live, uid);
  const { id } = live.record.value;
  return house.lock.run(`life/${id}`, async () => {
    try {
      await before?.(live);
      return await house.backend.layer(id, op, snapshot);
    } catch (error) {
      throw error instanceof NemoError ? error : layerError(name, error);
    }
  });
}

/** Throws NEMO_E_RECORD: then nothing was changed. */
function onRecord(house: House, message: string, uid: number): (live: LiveSandbox) => Promise<void> {
  return async (live) => {
    await house.audit.commit(gatewayEvent(house.clock.now(), live.record.value.id, message, { data: { name: live.record.value.name, uid } })).catch((cause: unknown) => {
      throw new NemoError('NEMO_E_RECORD', { what: 'It was not done, because it could not be put on record.', cause });
    });
  };
}

/** What the sandbox changed, also while it runs. Throws NEMO_E_NOT_FOUND (no layer), NEMO_E_NOT_YOURS, NEMO_E_WORKSPACE, NEMO_E_BACKEND. */
export async function diffLayer(house: House, name: string, uid: number): Promise<LayerDiff> {
  return (await asked(house, name, uid, 'diff', '')) as LayerDiff;
}

/** Carries the changes out in the folder, as its owner. Throws also NEMO_E_STATE (it runs), NEMO_E_RECORD. */
export async function commitLayer(house: House, name: string, uid: number): Promise<LayerCommit> {
  return (await asked(house, name, uid, 'commit', '', onRecord(house, `The changes of ${name} are carried out in its workspace.`, uid))) as LayerCommit;
}

/** Drops the changes; snapshots stay. Throws as commitLayer. */
export async function discardLayer(house: House, name: string, uid: number): Promise<void> {
  await asked(house, name, uid, 'discard', '', onRecord(house, `The changes of ${name} are discarded.`, uid));
}

export async function listSnapshots(house: House, name: string, uid: number): Promise<LayerSnapshots> {
  return (await asked(house, name, uid, 'snapshots', '')) as LayerSnapshots;
}

/** A copy of the layer; a running sandbox is stopped in its tracks meanwhile. Throws also NEMO_E_CONFLICT (the name is taken, too many). */
export async function takeSnapshot(house: House, name: string, snapshot: string, uid: number): Promise<void> {
  if (!snapshotName.test(snapshot)) throw new NemoError('NEMO_E_NAME', { what: 'A snapshot\'s name has 1 to 40 small letters, digits and dashes.' });
  const { id, state } = house.sandboxes.must(name).record.value;
  mayUse(house.sandboxes.must(name), uid);
  if (state === 'running') await house.backend.freeze(id, true);
  try {
    await asked(house, name, uid, 'snapshot', snapshot);
  } finally {
    if (state === 'running') await house.backend.freeze(id, false);
  }
}

/** The layer becomes what it was; what was not in a snapshot is lost. Throws as commitLayer. */
export async function restoreSnapshot(house: House, name: string, snapshot: string, uid: number): Promise<void> {
  if (!snapshotName.test(snapshot)) throw new NemoError('NEMO_E_NAME', { what: 'A snapshot\'s name has 1 to 40 small letters, digits and dashes.' });
  await asked(house, name, uid, 'restore', snapshot, onRecord(house, `The layer of ${name} is restored from the snapshot ${snapshot}.`, uid));
}
