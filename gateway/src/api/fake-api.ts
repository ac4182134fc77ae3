/** For tests: the API of a gateway in one process, over a real Unix socket, and a WebSocket dialogue with it. */
import { once } from 'node:events';
import { request } from 'node:http';
import { join } from 'node:path';
import { execServerFrameSchema, type ExecServerFrame } from '@nemoclaw/contract';
import { WebSocket } from 'ws';
import { makeWorld, type World } from '../fake-world.ts';
import type { Peer } from './peers.ts';
import { serveApi, type ApiServer } from './server.ts';

const rules = { services: new Set([901, 902]), agents: [200_000, 204_095] as const };

export interface Answer {
  status: number;
  json: unknown;
}
export interface Api {
  readonly world: World;
  readonly path: string;
  peer: Peer | undefined;
  call(method: string, path: string, body?: unknown): Promise<Answer>;
}

/** A test's body with an API of its own, called by uid 1000 until `peer` is changed. */
export function withApi(body: (api: Api) => Promise<void>): () => Promise<void> {
  return async () => {
    const world = await makeWorld();
    const path = join(world.dir, 'gateway.sock');
    const api: Api = {
      world,
      path,
      peer: { uid: 1000 },
      call: (method, url, given) =>
        new Promise((resolve, reject) => {
          const req = request({ socketPath: path, method, path: url, headers: { 'content-type': 'application/json' }, agent: false }, (res) => {
            let text = '';
            res.setEncoding('utf8').on('data', (part: string) => (text += part));
            res.on('end', () => resolve({ status: res.statusCode ?? 0, json: text === '' ? undefined : JSON.parse(text) }));
          });
          req.on('error', reject);
          req.end(given === undefined ? undefined : typeof given === 'string' ? given : JSON.stringify(given));
        }),
    };
    let server: ApiServer | undefined;
    try {
      server = await serveApi(world.gateway.house, {
        path,
        group: undefined,
        peers: rules,
        peerOf: () => {
          if (!api.peer) throw new Error('no binding');
          return api.peer;
        },
      });
      await body(api);
    } finally {
      server?.close();
      await world.close();
    }
  };
}
/** A running sandbox. */
export const makeSandbox = (api: Api, name = 'helper') => api.call('POST', '/v1/sandboxes', { name, blueprint: 'support' });

/** A WebSocket dialogue: the frames that came, and the bytes by stream. */
export class Dialogue {
  readonly ws: WebSocket;
  readonly frames: ExecServerFrame[] = [];
  readonly bytes = new Map<number, string>();
  readonly closed: Promise<unknown>;
  readonly #waiters: (() => void)[] = [];

  constructor(api: Api, path: string, first: unknown) {
    this.ws = new WebSocket(`ws+unix:${api.path}:${path}`);
    this.ws.on('open', () => this.ws.send(typeof first === 'string' ? first : JSON.stringify(first)));
    this.ws.on('message', (data: Buffer, binary: boolean) => {
      if (binary) this.bytes.set(data[0] ?? -1, (this.bytes.get(data[0] ?? -1) ?? '') + data.subarray(1).toString());
      else this.frames.push(execServerFrameSchema.parse(JSON.parse(data.toString())));
      for (const wake of this.#waiters.splice(0)) wake();
    });
    this.closed = once(this.ws, 'close');
  }
  async frame<T extends ExecServerFrame['t']>(t: T): Promise<Extract<ExecServerFrame, { t: T }>> {
    for (;;) {
      const found = this.frames.find((frame) => frame.t === t);
      if (found) return found as Extract<ExecServerFrame, { t: T }>;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }
  async heard(stream: number, text: string): Promise<void> {
    while (!(this.bytes.get(stream) ?? '').includes(text)) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }
}
