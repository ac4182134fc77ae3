/** What the clients may do: pages, packages, a repository, a WebSocket, one gRPC method, one MCP tool, two databases. */
export interface Ports {
  readonly web: number;
  readonly postgres: number;
  readonly redis: number;
}

export const hosts = { web: 'web.example', rpc: 'rpc.example', tools: 'tools.example' } as const;

export const sandboxFile = `apiVersion: openshell.nvidia.com/v1
kind: SandboxPolicy
metadata: { name: clients }
spec:
  isolation: { network: restricted, filesystem: workspace, syscalls: standard }
  resources: { maxMemory: 4Gi }
`;

export function networkFile({ web, postgres, redis }: Ports): string {
  const at = (more: string): string => `addresses: [127.0.0.1]${more}`;
  return `networkPolicy:
  name: clients
  egress:
    allow:
      - { domain: ${hosts.web}, ports: [${web}], methods: [GET, HEAD], ${at(', ca: web-ca.pem')} }
      - { domain: ${hosts.web}, ports: [${web}], methods: [POST], paths: [/git/repo.git/git-upload-pack, /git/repo.git/git-receive-pack], ${at(', ca: web-ca.pem')} }
      - { domain: ${hosts.web}, ports: [${web}], protocol: websocket, paths: [/ws], ${at(', ca: web-ca.pem')} }
      - { domain: ${hosts.rpc}, ports: [${web}], protocol: grpc, paths: [/demo.Echo/Say], ${at(', ca: web-ca.pem')} }
      - { domain: ${hosts.tools}, ports: [${web}], paths: [/mcp], protocol: mcp, mcp: { methods: [initialize, "notifications/*", tools/list] }, ${at(', ca: web-ca.pem')} }
      - { domain: ${hosts.tools}, ports: [${web}], paths: [/mcp], protocol: mcp, mcp: { methods: [tools/call], tools: [search], arguments: { query: "open *" } }, ${at(', ca: web-ca.pem')} }
      - { domain: db.example, ports: [${postgres}], protocol: postgres, postgres: { users: [tester], databases: [app] }, ${at('')} }
      - { domain: cache.example, ports: [${redis}], protocol: redis, redis: { commands: [ping, hello, client, command, get, set] }, ${at('')} }
    deny:
      - { domain: ${hosts.web}, paths: [/denied/**] }
      - domain: "*"
`;
}
