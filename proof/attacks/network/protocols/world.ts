/** One sandbox whose policy names what is said inside each protocol, with a careless server behind every name. */
import { openPolicyDesk } from '../desk.ts';
import { fine, openCanary, type Canary } from '../canary.ts';
import type { Desk } from '../../../../layers/network-policy/src/testing/testing-egress.ts';
import { openCarelessMail, openCarelessPostgres, openCarelessRedis, openWebSocketOrigin, type Listener } from './listeners.ts';
import { origins } from './websocket-table.ts';

export interface ProtocolWorld {
  readonly desk: Desk;
  readonly web: Canary;
  /** Speaks HTTP/1.1 only, over TLS. */
  readonly down: Canary;
  readonly mail: Listener;
  readonly redis: Listener;
  readonly postgres: Listener;
  readonly sockets: Listener;
  readonly close: () => Promise<void>;
}

export async function openProtocols(): Promise<ProtocolWorld> {
  const [web, down] = [await openCanary(), await openCanary({ host: 'down.test' })];
  web.answer = () => fine('{"jsonrpc":"2.0","id":1,"result":{"from":"canary"}}', 'content-type: application/json\r\n');
  const [mail, redis, postgres, sockets] = [await openCarelessMail(), await openCarelessRedis(), await openCarelessPostgres(), await openWebSocketOrigin(origins)];
  const hosts = ['plain.test', 'graph.test', 'mcp.test', 'rpc.test', 'ws.test', 'mail.test', 'cache.test', 'db.test'];
  const desk = await openPolicyDesk({
    network: `networkPolicy:
  name: protocols
  egress:
    allow:
      - { domain: down.test, ports: [${down.port}], methods: [GET, POST, HEAD] }
      - { domain: plain.test, ports: [${down.port}] }
      - { domain: graph.test, ports: [${web.port}], protocol: graphql, graphql: { operations: [query], fields: [viewer, "repo*"] } }
      - { domain: mcp.test, ports: [${web.port}], protocol: mcp, mcp: { methods: [initialize, ping, "notifications/*", tools/list] } }
      - { domain: mcp.test, ports: [${web.port}], protocol: mcp, mcp: { methods: [tools/call], tools: [search, pay], arguments: { amount: { max: 100 } } } }
      - { domain: rpc.test, ports: [${web.port}], protocol: json-rpc, jsonRpc: { methods: ["eth_get*"] } }
      - { domain: ws.test, ports: [${sockets.port}], protocol: websocket, paths: ["/ws", "/from/**"] }
      - { domain: mail.test, ports: [${mail.port}], protocol: smtp, smtp: { recipients: ["*@company.test"], starttls: allowed } }
      - { domain: cache.test, ports: [${redis.port}], protocol: redis, redis: { commands: [get, set, ping] } }
      - { domain: db.test, ports: [${postgres.port}], protocol: postgres, postgres: { users: [tester], databases: [app] } }
    deny:
      - { domain: down.test, paths: [/admin, "/admin/**"] }
  inspection: { scanForPII: false }
`,
    pins: [{ host: 'down.test', caPem: down.caPem }, ...hosts.map((host) => ({ host }))], ports: [web.port, down.port, mail.port, redis.port, postgres.port, sockets.port], intercepted: ['down.test', ...hosts],
  });
  return {
    desk, web, down, mail, redis, postgres, sockets,
    close: async () => {
      await desk.close();
      await Promise.all([web, down, mail, redis, postgres, sockets].map((one) => one.close()));
    },
  };
}
