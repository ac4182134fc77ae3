/** A blueprint in a private instance: a shell with the policies that a proof needs. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Instance } from './instance.ts';

export interface Policies {
  /** Left out: a workspace, the standard system calls, the network that `network` allows. */
  readonly sandbox?: string;
  readonly network: string;
  readonly actions?: string;
  /** Left out: a model that is never asked; a blueprint names one all the same. */
  readonly inference?: string;
}

const sandboxFile = (name: string): string => `apiVersion: openshell.nvidia.com/v1
kind: SandboxPolicy
metadata: { name: ${name} }
spec:
  isolation: { network: restricted, filesystem: workspace, syscalls: standard }
`;

/** Of one model on loopback. */
export const inferenceFile = (port: number, model: string): string => `providers:\n  - { name: local, kind: vllm, endpoint: "http://127.0.0.1:${port}/v1", model: ${model}, location: local }\ndefault: local\n`;

/** Puts the blueprint `name` where root would. `policies`: texts of its policy files. `beside`: name -> text of other files that they name. */
export function putBlueprint(instance: Instance, name: string, policies: Policies, beside: Readonly<Record<string, string>> = {}): void {
  const texts = { sandbox: sandboxFile(name), inference: inferenceFile(9, 'none'), ...policies };
  const files = Object.keys(texts).map((kind) => `${kind}: ${kind}.yaml`).join(', ');
  const folder = join(instance.state, 'blueprints', name);
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  writeFileSync(join(folder, 'blueprint.yaml'), `apiVersion: nemoclaw.dev/v1\nkind: Blueprint\nname: ${name}\nversion: 1.0.0\ndescription: A shell\nrole: support\nagent: { kind: shell }\nfiles: { ${files} }\n`);
  for (const [kind, text] of Object.entries(texts)) writeFileSync(join(folder, `${kind}.yaml`), text);
  for (const [file, text] of Object.entries(beside)) writeFileSync(join(folder, file), text);
}
