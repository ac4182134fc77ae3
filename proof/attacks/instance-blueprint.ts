/** The blueprint of the attacked instance: a shell, one web service, one model that always wants what is denied. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Instance } from '../harness/instance.ts';

/** Programs of /usr/sbin may not be run. */
export const sandboxFile = (allowed: readonly string[]): string => `apiVersion: openshell.nvidia.com/v1
kind: SandboxPolicy
metadata: { name: attacked }
spec:
  isolation: { network: restricted, filesystem: workspace, syscalls: standard }
  filesystem: { readOnly: [/workspace/fixed] }
  process: { exec: { allow: [/usr/bin/**, /usr/lib/**, /workspace/**, /opt/**] } }
  permissions: { allowedAPIs: [${['office.read', ...allowed].join(', ')}], deniedAPIs: [${allowed.includes('vault.open') ? 'admin.*' : 'vault.*'}] }
`;

export const networkFile = (port: number, methods: readonly string[]): string => `networkPolicy:
  name: attacked
  egress:
    allow:
      - { domain: office.example, ports: [${port}], methods: [${methods.join(', ')}], addresses: [127.0.0.1] }
    deny:
      - domain: "*"
`;

const catalogue = `actions:
  - name: office.read
    match: [{ tool: office_read }]
    labels: { sensitivity: public, reversibility: fully-reversible, scope: single }
  - name: vault.open
    match: [{ tool: vault_open }]
    labels: { sensitivity: public, reversibility: fully-reversible, scope: single }
`;

/** Puts the blueprint and the host's settings where root would. */
export function prepare(instance: Instance, officePort: number, modelPort: number): void {
  const files: Readonly<Record<string, string>> = {
    'blueprint.yaml': 'apiVersion: nemoclaw.dev/v1\nkind: Blueprint\nname: attacked\nversion: 1.0.0\ndescription: A shell that attacks\nrole: support\nagent: { kind: shell }\nfiles: { sandbox: sandbox.yaml, network: network.yaml, actions: actions.yaml, inference: inference.yaml }\n',
    'sandbox.yaml': sandboxFile([]),
    'network.yaml': networkFile(officePort, ['GET']),
    'actions.yaml': catalogue,
    'inference.yaml': `providers:\n  - { name: local, kind: vllm, endpoint: "http://127.0.0.1:${modelPort}/v1", model: willing, location: local }\ndefault: local\n`,
  };
  const folder = join(instance.state, 'blueprints/attacked');
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  mkdirSync(join(instance.root, 'etc/nemoclaw'), { recursive: true });
  // The demo company's services listen on fixed ports, which another instance may have.
  writeFileSync(join(instance.root, 'etc/nemoclaw/host.yaml'), 'demo: 0\n');
}
