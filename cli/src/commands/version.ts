/** `nemoclaw version`: of this program, of Node, and of the gateway if it runs. */
import { readFileSync } from 'node:fs';
import type { StatusView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { say, sayJson, type CliContext } from '../context.ts';
import { call } from '../gateway-client.ts';

/** The version of this program, from its package. */
function ownVersion(): string {
  const manifest: { version: string } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return manifest.version;
}

export async function run(this: CliContext, flags: CommonFlags): Promise<void> {
  const version = ownVersion();
  const gateway = await call<StatusView>(this, 'GET', '/v1/status').then(
    (status) => status.version,
    () => null,
  );
  if (flags.json) return sayJson(this, { version, node: process.versions.node, gateway });
  say(this, `nemoclaw ${version}`);
  say(this, `node ${process.versions.node}`);
  say(this, `gateway ${gateway ?? 'not running'}`);
}
