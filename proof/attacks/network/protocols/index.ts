/** Attacks on what is said inside each protocol: tables of raw bytes, with a careless server behind every name. */
import type { Checks } from '../../../harness/checks.ts';
import { postgres, redis } from './databases-table.ts';
import { playFrames } from './http2-play.ts';
import { http2 } from './http2-table.ts';
import { grpcAttacks } from './grpc-play.ts';
import { keeperAttacks } from './keeper.ts';
import { graphql, jsonRpc, mcp } from './messages-table.ts';
import { playMessages } from './messages.ts';
import { playTable } from './play.ts';
import { smtp } from './smtp-table.ts';
import { websocket } from './websocket-table.ts';
import { openProtocols } from './world.ts';

const lastLine = (text: string): boolean => /^\d{3} [^\n]*\r\n$/m.test(text.slice(text.lastIndexOf('\n', text.length - 2) + 1));

export async function protocolAttacks(check: Checks): Promise<void> {
  const world = await openProtocols();
  const { desk } = world;
  try {
    check.section('the way out: HTTP/2');
    await playFrames(check, desk, world.down, http2);
    check.section('the way out: GraphQL, MCP and JSON-RPC');
    await playMessages(check, desk, world.web, 'graph.test', graphql);
    await playMessages(check, desk, world.web, 'mcp.test', mcp);
    await playMessages(check, desk, world.web, 'rpc.test', jsonRpc);
    check.section('the way out: mail');
    await playTable(check, desk, { host: 'mail.test', canary: world.mail, answered: lastLine, rows: smtp });
    check.section('the way out: databases');
    await playTable(check, desk, { host: 'cache.test', canary: world.redis, answered: (text) => text.endsWith('\r\n'), rows: redis });
    await playTable(check, desk, { host: 'db.test', canary: world.postgres, answered: (text) => /Z\0\0\0\x05I$|N$/.test(text), rows: postgres });
    check.section('the way out: WebSockets');
    await playTable(check, desk, { host: 'ws.test', canary: world.sockets, answered: (text) => text.includes('\r\n\r\n'), rows: websocket });
  } finally {
    await world.close();
  }
  await grpcAttacks(check);
  await keeperAttacks(check);
}
