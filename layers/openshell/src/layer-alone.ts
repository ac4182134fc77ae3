/** Layers that `openshell run --overlay` leaves: one for each folder, kept by root, used by one openshelld at a time. */
import { NemoError, type LayerOp } from '@nemoclaw/contract';
import { OpenshelldError } from './openshelld-client.ts';
import { AloneDaemon } from './sandbox-daemon.ts';
import { backendError, register } from './sandbox.ts';

/** Where layers are kept if nobody says otherwise. */
const usualState = '/var/lib/openshell';

/** The folder that keeps layers: `given`, or the usual one. Throws NEMO_E_ROOT for anybody but root, NEMO_E_USAGE for a path that is not absolute. */
export function stateFolder(given: string | undefined): string {
  if (process.getuid?.() !== 0) throw new NemoError('NEMO_E_ROOT', { what: 'Only root keeps layers.', why: 'A layer that its agent could reach from outside would be no layer.', fix: 'Run it as root, or say `isolation: { filesystem: ephemeral }`: then nothing reaches the folder, and nothing is kept.' });
  if (given !== undefined && !given.startsWith('/')) throw new NemoError('NEMO_E_USAGE', { what: '--state needs an absolute path.' });
  return given ?? usualState;
}

/**
 * One request about the layer over `folder`: a LayerDiff, LayerCommit, LayerSnapshots, or for the others nothing of interest. `name` is a snapshot's, '' for the others.
 * Rejects with NEMO_E_NOT_FOUND (no layer, no such snapshot), NEMO_E_STATE (a command runs in it), NEMO_E_CONFLICT (the snapshot's name is taken, too many), NEMO_E_WORKSPACE, NEMO_E_BACKEND.
 */
export async function layerAlone(folder: string, state: string, op: LayerOp, name = ''): Promise<unknown> {
  const { daemon, release } = await AloneDaemon.take({ bindRoots: [], devices: [], holdSeconds: 1, testing: false, state });
  try {
    return await daemon.client.layer(await register(daemon, folder), op, name);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    switch (error instanceof OpenshelldError ? error.code : '') {
      case 'no-layer': throw new NemoError('NEMO_E_NOT_FOUND', { what: `${folder} has no layer.`, fix: '`openshell run --overlay` makes one.', cause: error });
      case 'no-snapshot': throw new NemoError('NEMO_E_NOT_FOUND', { what: `There is no snapshot ${name}.`, fix: '`openshell snapshots` lists them.', cause: error });
      case 'running': throw new NemoError('NEMO_E_STATE', { what: 'The layer is in use.', why: 'A command runs in it, and what lies under a running command must not change.', fix: 'Wait for its end.', cause: error });
      case 'exists':
      case 'full': throw new NemoError('NEMO_E_CONFLICT', { what: `The snapshot ${name} was not taken.`, why, cause: error });
      default: throw error instanceof NemoError ? error : backendError(error);
    }
  } finally {
    await release();
  }
}
