/** The policies of the benchmarks: usual ones, with one host that answers, one path that changes, and one that waits for a person. */

/** Host names of the upstream; they exist only in the sandbox's resolver. */
export const upstreamName = 'bench.example';
export const heldName = 'held.example';
export const secureName = 'secure.example';

/** Where the upstream listens: plain HTTP (requests, streams, the model), and HTTPS. */
export interface UpstreamPorts {
  readonly plain: number;
  readonly secure: number;
}

/** `watched`: whether a rule of its own (`egress.deny[1]`) refuses /watched, instead of the default: both are answered by the proxy itself. */
export function networkPolicy({ plain: port, secure }: UpstreamPorts, watched: boolean): string {
  const host = (name: string, methods: string, paths: string): string => `      - { domain: ${name}, ports: [${port}], methods: [${methods}], paths: [${paths}], addresses: [127.0.0.1] }\n`;
  return `networkPolicy:
  name: bench
  egress:
    allow:
${host(upstreamName, 'GET', '/first, /stream')}      - { domain: ${secureName}, ports: [${secure}], methods: [GET], paths: [/first], addresses: [127.0.0.1], ca: upstream.pem }
    escalate:
${host(heldName, 'PUT', '"/held/**"')}    deny:
      - { domain: "*" }
${watched ? `      - { domain: ${upstreamName}, ports: [${port}], paths: [/watched] }\n` : ''}`;
}

function sandboxPolicy(ruled: boolean): string {
  return `apiVersion: openshell.nvidia.com/v1
kind: SandboxPolicy
metadata: { name: bench }
spec:
  isolation: { network: restricted, filesystem: workspace, syscalls: standard }
  resources: { maxMemory: 2Gi, maxCPU: 2, maxPids: 256, maxOpenFiles: 4096 }
${ruled ? '  filesystem: { escalate: [{ path: "/workspace/archive/**", on: [delete, rename, write, create, connect, exec] }] }\n' : ''}`;
}

/** File name -> text of the blueprint `bench` (no rule about files), or `bench-ruled` (deleting, renaming, writing, making, connecting to sockets and starting programs in /workspace/archive asks). */
export function blueprintFiles(ports: UpstreamPorts, ruled: boolean): Record<string, string> {
  return {
    'blueprint.yaml': `apiVersion: nemoclaw.dev/v1
kind: Blueprint
name: ${ruled ? 'bench-ruled' : 'bench'}
version: 1.0.0
description: What the benchmarks run in
role: bench
agent: { kind: shell }
files: { sandbox: sandbox.yaml, network: network.yaml, approvals: approvals.yaml, inference: inference.yaml }
`,
    'sandbox.yaml': sandboxPolicy(ruled),
    'network.yaml': networkPolicy(ports, true),
    'approvals.yaml': 'triggers: [{ action: data.delete, threshold: always }]\nchannels: [terminal]\ntimeout: 15m\ndefaultAction: deny\n',
    'inference.yaml': `providers:\n  - { name: none, kind: vllm, endpoint: "http://127.0.0.1:${ports.plain}/v1", model: none, location: local }\ndefault: none\n`,
  };
}
