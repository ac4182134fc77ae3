/** For tests: a gateway that answers from a table, with real HTTP and WebSocket on a real Unix socket; and a world that keeps what was written. */
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname } from 'node:path';
import { PassThrough } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { World } from './context.ts';

export interface FakeAnswer {
  readonly status?: number;
  readonly body?: unknown;
  /** Raw text, e.g. a server-sent stream; the connection then ends. */
  readonly text?: string;
}
/** What a WebSocket sends after the first text frame; `bytes` are written as stream id and text. */
export type FakeFrame = { readonly text: unknown } | { readonly bytes: readonly [stream: number, data: string] } | { readonly close: true };

export interface FakeRoutes {
  /** `GET /v1/sandboxes` -> answer; with a list, each call takes the next. */
  readonly http?: Readonly<Record<string, FakeAnswer | readonly FakeAnswer[]>>;
  /** `/v1/sandboxes/x/run` -> frames. */
  readonly ws?: Readonly<Record<string, readonly FakeFrame[]>>;
}
export interface FakeGateway {
  /** `METHOD path body` of every request, `WS path frame` of every text frame, in order. */
  readonly seen: string[];
  close(): Promise<void>;
}

/** Listens at `socketPath`; unknown requests get the contract's not-found error. */
export async function startFakeGateway(socketPath: string, routes: FakeRoutes): Promise<FakeGateway> {
  mkdirSync(dirname(socketPath), { recursive: true });
  const seen: string[] = [];
  const calls = new Map<string, number>();
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const key = `${request.method} ${request.url}`;
    seen.push(body === '' ? key : `${key} ${body}`);
    const route = routes.http?.[key];
    const count = calls.get(key) ?? 0;
    calls.set(key, count + 1);
    const answer: FakeAnswer = (Array.isArray(route) ? route[Math.min(count, route.length - 1)] : (route as FakeAnswer | undefined)) ?? {
      status: 404,
      body: { error: { code: 'NEMO_E_NOT_FOUND', what: `There is nothing at ${request.url}.`, fix: 'Look at `nemoclaw list`.' } },
    };
    response.writeHead(answer.status ?? 200, { 'content-type': answer.text === undefined ? 'application/json' : 'text/event-stream' });
    response.end(answer.text ?? (answer.body === undefined ? '' : JSON.stringify(answer.body)));
  });
  const sockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    const frames = routes.ws?.[request.url ?? ''];
    if (!frames) {
      const body = JSON.stringify({ error: { code: 'NEMO_E_NOT_FOUND', what: 'There is no such sandbox.', fix: 'Look at `nemoclaw list`.' } });
      socket.end(`HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (ws) => {
      let started = false;
      ws.on('message', (data: Buffer, binary) => {
        seen.push(binary ? `WS ${request.url} stdin ${data.subarray(1).toString('utf8')}` : `WS ${request.url} ${data.toString('utf8')}`);
        if (started) return;
        started = true;
        for (const frame of frames) {
          if ('text' in frame) ws.send(JSON.stringify(frame.text));
          else if ('bytes' in frame) ws.send(Buffer.concat([Buffer.from([frame.bytes[0]]), Buffer.from(frame.bytes[1])]));
          else ws.terminate();
        }
      });
    });
  });
  server.listen(socketPath);
  await once(server, 'listening');
  return {
    seen,
    close: async () => {
      for (const client of sockets.clients) client.terminate();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

export interface FakeWorld {
  readonly world: World;
  stdout(): string;
  stderr(): string;
  exit(): number;
}

/** A world below `root`, at a fixed time. */
export function fakeWorld(
  root: string,
  options: { readonly tty?: boolean; readonly uid?: number; readonly cwd?: string; readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {},
): FakeWorld {
  const written = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  let code = 0;
  const output = (name: 'stdout' | 'stderr') => ({
    write: (data: string | Uint8Array) => written[name].push(Buffer.from(data)),
    isTTY: options.tty === true,
    columns: 120,
    rows: 40,
  });
  const stdin = Object.assign(new PassThrough(), { isTTY: false });
  stdin.end(options.input ?? '');
  return {
    world: {
      stdout: output('stdout'),
      stderr: output('stderr'),
      stdin,
      env: { NEMOCLAW_ROOT: root, ...options.env },
      signals: { on: () => undefined, off: () => undefined },
      unprocessed: () => undefined,
      now: () => Date.UTC(2026, 2, 19, 12, 0, 0),
      sleep: async () => undefined,
      setExit: (given) => {
        code = given;
      },
      cwd: options.cwd ?? root,
      uid: options.uid ?? 1000,
    },
    stdout: () => Buffer.concat(written.stdout).toString('utf8'),
    stderr: () => Buffer.concat(written.stderr).toString('utf8'),
    exit: () => code,
  };
}
