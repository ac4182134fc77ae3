/** Test support: a service that openshelld starts in tests; connects to the test's hub and does what the test says. */
import { readFileSync } from 'node:fs';
import { createConnection, createServer, Socket } from 'node:net';
import { ReadStream } from 'node:tty';
import type { FromOpenshelld, Hello, ToOpenshelld } from '@nemoclaw/contract';
import { ControlChannel } from './control-channel.ts';
import { OpenshelldClient, OpenshelldError } from './openshelld-client.ts';
import type { ExecOptions } from './openshelld-client.ts';

/** test -> service */
export type HubOrder =
  | { readonly id: number; readonly op: 'raw'; readonly message: object }
  | { readonly id: number; readonly op: 'call'; readonly method: string; readonly args: readonly unknown[] }
  | { readonly id: number; readonly op: 'run'; readonly sandbox: string; readonly execId: string; readonly options: ExecOptions; readonly stdin: string }
  /** From now on every hold is answered at once; null: none. */
  | { readonly id: number; readonly op: 'auto'; readonly verdict: 'allow' | 'deny' | null }
  /** Tries to read a file and to signal a process; '' or the error's code, for each. */
  | { readonly id: number; readonly op: 'reach'; readonly path: string; readonly pid: number }
  /** Connects into a sandbox, says `text`, and gives back what comes until the end. */
  | { readonly id: number; readonly op: 'into'; readonly sandbox: string; readonly port: number; readonly text: string }
  /** Takes the captured connections of a sandbox from now on, and tells their ends as a line of the peer `captured`. */
  | { readonly id: number; readonly op: 'serve'; readonly sandbox: string }
  | { readonly id: number; readonly op: 'attachRead'; readonly sandbox: string; readonly execId: string };
/** service -> test */
export type HubNews =
  | { readonly k: 'up'; readonly name: string; readonly pid: number; readonly uid: number }
  | { readonly k: 'news'; readonly message: FromOpenshelld; readonly fds: number }
  | { readonly k: 'link'; readonly peer: string; readonly line: string }
  | { readonly k: 'result'; readonly id: number; readonly ok: boolean; readonly value: unknown };

const name = process.env['NEMOCLAW_SERVICE'] ?? '?';
const role = (name.split(':')[0] ?? name) as Hello['role'];
const hub = createConnection(process.env['HUB'] ?? '');
const tell = (news: HubNews): void => {
  hub.write(`${JSON.stringify(news)}\n`);
};
tell({ k: 'up', name, pid: process.pid, uid: process.getuid?.() ?? -1 });

const links = new Map<string, Socket>();
const ends = new Map<string, (value: { code: number | null; signal: string | null }) => void>();
const kept: Socket[] = [];
const listeners = new Map<string, number>();

let auto: 'allow' | 'deny' | null = null;
const channel = new ControlChannel();
const client = new OpenshelldClient(channel, role, process.pid, (message, fds) => {
  if (auto !== null && (message.t === 'hold' || message.t === 'hold.ended')) {
    if (message.t === 'hold') client.answerHold(message.hold.sandbox, message.hold.holdId, auto).catch(() => undefined);
    return;
  }
  tell({ k: 'news', message, fds: fds.length });
  if (message.t === 'exec.exited') ends.get(message.execId)?.({ code: message.code, signal: message.signal });
  if (message.t === 'attach' && fds[0] !== undefined) listeners.set(message.sandbox, fds[0]);
  if (message.t === 'link') {
    const socket = new Socket({ fd: fds[0] ?? -1, readable: true, writable: true });
    links.set(message.peer, socket);
    socket.on('data', (data) => tell({ k: 'link', peer: message.peer, line: data.toString() }));
    socket.on('error', () => socket.destroy());
    socket.write(`${name} to ${message.peer}`);
  }
});

function read(fd: number): { readonly socket: Socket; readonly text: Promise<string> } {
  const socket = new Socket({ fd, readable: true, writable: false });
  kept.push(socket);
  let text = '';
  return {
    socket,
    text: new Promise((resolve) => {
      socket.on('data', (data) => {
        text += data.toString();
      });
      socket.on('error', () => resolve(text));
      socket.on('close', () => resolve(text));
    }),
  };
}

async function run(order: Extract<HubOrder, { op: 'run' }>): Promise<unknown> {
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => ends.set(order.execId, resolve));
  const began = process.hrtime.bigint();
  const started = await client.exec(order.sandbox, order.execId, order.options);
  if (order.options.tty) {
    // A terminal's end is no pipe: Node takes it only as a tty stream, which also writes.
    const master = new ReadStream(started.fds[0] ?? -1);
    let text = '';
    master.on('data', (data) => {
      text += data.toString();
    });
    // It comes to its end when the last of the sandbox has closed the terminal.
    master.on('error', () => master.destroy());
    const closed = new Promise((resolve) => master.once('close', resolve));
    if (order.stdin !== '') master.write(order.stdin);
    const end = await ended;
    await closed;
    return { ...end, stdout: text, stderr: '', pid: started.pid, fds: started.fds.length };
  }
  const stdin = new Socket({ fd: started.fds[0] ?? -1, readable: false, writable: true });
  stdin.on('error', () => stdin.destroy());
  const out = read(started.fds[1] ?? -1);
  const err = read(started.fds[2] ?? -1);
  stdin.end(order.stdin);
  const end = await ended;
  const micros = Number(process.hrtime.bigint() - began) / 1000;
  return { ...end, stdout: await out.text, stderr: await err.text, pid: started.pid, fds: started.fds.length, micros };
}

async function obey(order: HubOrder): Promise<unknown> {
  switch (order.op) {
    case 'raw':
      // Not through the client: also what no honest service would send.
      channel.send(order.message as ToOpenshelld);
      return null;
    case 'call': {
      const method = (client as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[order.method];
      if (!method) throw new Error(`no method ${order.method}`);
      return (await method.apply(client, [...order.args])) ?? null;
    }
    case 'run':
      return run(order);
    case 'auto':
      auto = order.verdict;
      return null;
    case 'reach':
      return { read: codeOf(() => readFileSync(order.path)), signal: codeOf(() => process.kill(order.pid, 0)) };
    case 'into': {
      const socket = new Socket({ fd: await client.ingressConnect(order.sandbox, order.port), readable: true, writable: true });
      socket.end(order.text);
      let heard = '';
      for await (const part of socket) heard += String(part);
      return heard;
    }
    case 'serve': {
      const server = createServer((socket) => {
        kept.push(socket);
        socket.on('error', () => socket.destroy());
        const { remoteAddress: source, remotePort: sourcePort, localAddress: destination, localPort: destinationPort } = socket;
        tell({ k: 'link', peer: 'captured', line: JSON.stringify({ source, sourcePort, destination, destinationPort }) });
        socket.resume();
      });
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ fd: listeners.get(order.sandbox) ?? -1 }, resolve);
      });
      return null;
    }
    case 'attachRead': {
      const attached = await client.execAttach(order.sandbox, order.execId);
      return { count: attached.fds.length, first: await new Promise((resolve) => read(attached.fds[0] ?? -1).socket.once('data', (data) => resolve(data.toString()))) };
    }
  }
}

function codeOf(attempt: () => unknown): string {
  try {
    attempt();
    return '';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown';
  }
}

let pending = '';
hub.on('data', (data) => {
  pending += data.toString();
  for (let end = pending.indexOf('\n'); end >= 0; end = pending.indexOf('\n')) {
    const order = JSON.parse(pending.slice(0, end)) as HubOrder;
    pending = pending.slice(end + 1);
    obey(order).then(
      (value) => tell({ k: 'result', id: order.id, ok: true, value }),
      (error: unknown) => tell({ k: 'result', id: order.id, ok: false, value: error instanceof OpenshelldError ? { code: error.code, message: error.message } : { code: 'throw', message: String(error) } }),
    );
  }
});
hub.on('error', () => undefined);
process.on('SIGTERM', () => process.exit(0));
