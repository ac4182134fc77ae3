/** One sandbox whose policy names what is said inside each protocol, with a careless server behind every name. */
import { openPolicyDesk } from '../desk.ts';
import { openCanary, type Canary } from '../canary.ts';
import type { Desk } from '../../../../layers/network-policy/src/testing-egress.ts';
import { openCarelessMail, openCarelessPostgres, openCarelessRedis, openWebSocketOrigin, type Listener } from './listeners.ts';
import { origins } from './websocket-table.ts';

export interface ProtocolWorld {
  readonly desk: Desk;
  readonly web: Canary;
  readonly mail: Listener;
  readonly redis: Listener;
  readonly postgres: Listener;
  readonly sockets: Listener;
  readonly close: () => Promise<void>;
}

export async function openProtocols(): Promise<ProtocolWorld> {
  const web = await openCanary();
  const [mail, redis, postgres, sockets] = [await openCarelessMail(), await openCarelessRedis(), await openCarelessPostgres(), await openWebSocketOrigin(origins)];
  const hosts = ['graph.test', 'mutant.test', 'mcp.test', 'rpc.test', 'ws.test', 'mail.test', 'cache.test', 'db.test'];
  const desk = await openPolicyDesk({
    network: `networkPolicy:
  name: protocols
  egress:
    allow:
      - { domain: graph.test, ports: [${web.port}], protocol: graphql, graphql: { operations: [query], fields: [viewer, "repo*"] } }
      - { domain: mcp.test, ports: [${web.port}], protocol: mcp, mcp: { methods: [initialize, ping, "notifications/*", tools/list] } }
      - { domain: mcp.test, ports: [${web.port}], protocol: mcp, mcp: { methods: [tools/call], tools: [search, pay], arguments: { amount: { max: 100 } } } }
      - { domain: rpc.test, ports: [${web.port}], protocol: json-rpc, jsonRpc: { methods: ["eth_get*"] } }
      - { domain: ws.test, ports: [${sockets.port}], protocol: websocket, paths: ["/ws", "/from/**"] }
      - { domain: mail.test, ports: [${mail.port}], protocol: smtp, smtp: { recipients: ["*@company.test"], starttls: allowed } }
      - { domain: cache.test, ports: [${redis.port}], protocol: redis, redis: { commands: [get, set, ping] } }
      - { domain: db.test, ports: [${postgres.port}], protocol: postgres, postgres: { users: [tester], databases: [app] } }
  inspection: { scanForPII: false }
`,
    pins: hosts.map((host) => ({ host })), ports: [web.port, mail.port, redis.port, postgres.port, sockets.port], intercepted: hosts,
  });
  return {
    desk, web, mail, redis, postgres, sockets,
    close: async () => {
      await desk.close();
      await Promise.all([web, mail, redis, postgres, sockets].map((one) => one.close()));
    },
  };
}
