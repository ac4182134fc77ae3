/** `nemoclaw audit verify`: runs the verifier of the installed copy, a program of its own that trusts none of the services. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { CommonFlags } from '../command.ts';
import type { CliContext } from '../context.ts';
import { Failure, Quit } from '../failure.ts';

export async function run(this: CliContext, flags: CommonFlags): Promise<void> {
  const { places, world } = this;
  if (world.uid !== 0) throw new Failure('NEMO_E_ROOT', { what: 'Verifying the record needs root.', why: "The signed checkpoints and their key are root's, so that no service can rewrite them." });
  const program = join(places.prefix, 'lib/ledger/src/verify-main.ts');
  if (!existsSync(program)) throw new Failure('NEMO_E_SETUP', { what: `There is no verifier at ${program}.`, fix: 'Install first: ./nemoclaw onboard' });
  const args = [program, '--ledger', join(places.state, 'ledger'), '--checkpoints', join(places.state, 'checkpoints'), ...(flags.json ? ['--json'] : [])];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env: {} });
  child.stdout.on('data', (chunk: Buffer) => world.stdout.write(chunk));
  child.stderr.on('data', (chunk: Buffer) => world.stderr.write(chunk));
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve(status ?? 1));
  });
  if (code !== 0) throw new Quit(1);
}
