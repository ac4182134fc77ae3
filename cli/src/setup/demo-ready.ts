/** Whether the scripted model can run on this host, asked before anything is set up for a sandbox that needs it. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { demoPorts } from '@nemoclaw/contract';
import { Failure } from '../failure.ts';
import type { Places } from '../places.ts';
import { configFile, hostBounds, hostFile } from './daemon-config.ts';
import { findSupervisor } from './supervisor.ts';

const otherModel = 'or choose a model with --provider.';

/** Throws Failure where root switched the demo off, or, while this instance does not run, where somebody else has its ports. */
export async function needDemo(places: Places, ports: readonly number[] = Object.values(demoPorts)): Promise<void> {
  const running = findSupervisor(places) !== undefined;
  // what runs keeps to the host.yaml that it was started with
  if (running ? !readFileSync(configFile(places), 'utf8').includes('/demo.ts"') : hostBounds(places).demo === 0) {
    throw new Failure('NEMO_E_PROVIDER', { what: 'The demo model is switched off on this host.', why: `${hostFile(places)} ${running ? 'said' : 'says'} demo: 0.`, fix: `Let it say demo: 1${running ? ' and run `nemoclaw down`' : ''}, then run this again; ${otherModel}` });
  }
  if (running) return;
  for (const port of ports) {
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch (error) {
      throw new Failure('NEMO_E_PROVIDER', { what: `The demo model cannot run: port ${port} on loopback is in use.`, why: error instanceof Error ? error.message : String(error), fix: `Stop what listens there (\`ss -ltnp\` names it; it may be another instance of NemoClaw), ${otherModel}`, cause: error });
    } finally {
      server.close();
    }
  }
}
