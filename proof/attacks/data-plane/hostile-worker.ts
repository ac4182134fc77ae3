/** A taken-over data plane: the real worker's code, and beside it a program that does what it is told with the worker's identity, descriptors and links. worker:2 stays honest. */
import { spawn } from 'node:child_process';
import { createConnection, Socket } from 'node:net';
import { encodeFrame, FrameDecoder, type FromOpenshelld, type ToOpenshelld } from '@nemoclaw/contract';
import { binding, closeFd, ControlChannel } from '@nemoclaw/openshell';
import { systemClock, systemIds } from '../../../gateway/src/clock.ts';
import { startWorker } from '../../../gateway/src/processes/worker.ts';
import type { FromHostile, Heard, Order } from './hostile-orders.ts';

const name = process.env['NEMOCLAW_SERVICE'] ?? '?';
const channel = new ControlChannel();
const links = new Map<string, Socket>();
const linkFds = new Map<string, number>();
const heard: Heard[] = [];
const configs: unknown[] = [];
let peer = '';

const hear = (from: string, message: unknown): void => {
  const m = message as Heard['message'];
  if (m['t'] === 'configure') configs.push(m['config']);
  heard.push({ from, message: m });
};

startWorker({
  control: {
    onMessage: (listener: (message: FromOpenshelld, fds: number[]) => void): void =>
      channel.onMessage((message, fds) => {
        hear('control', message);
        if (message.t === 'link') peer = message.peer;
        listener(message, fds);
      }),
    send: (message: ToOpenshelld): void => channel.send(message),
  },
  clock: systemClock,
  ids: systemIds,
  open: (fd) => {
    const socket = new Socket({ fd });
    const from = peer;
    const decoder = new FrameDecoder();
    links.set(from, socket);
    linkFds.set(from, fd);
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      for (const message of decoder.push(chunk)) hear(from, message);
    });
    socket.on('close', () => hear(from, { t: 'closed' }));
    return socket;
  },
  closeFd,
});

async function obey(order: Order): Promise<unknown> {
  switch (order.op) {
    case 'control':
      for (let i = 0; i < (order.times ?? 1); i += 1) {
        // As fast as the socket takes them.
        while (!binding().send(3, Buffer.from(JSON.stringify(order.message)), [])) await new Promise((next) => setTimeout(next, 1));
      }
      return null;
    case 'controlBytes':
      return binding().send(3, Buffer.from(order.base64, 'base64'), []);
    case 'link':
      return links.get(order.peer)?.write(encodeFrame(order.message)) ?? 'no link';
    case 'linkBytes':
      return links.get(order.peer)?.write(Buffer.from(order.base64, 'base64')) ?? 'no link';
    case 'heard':
      return heard.splice(0);
    case 'configs':
      return configs;
    case 'attempts':
      return attempts(order.input);
  }
}

/** A child has the same identity, no_new_privs and whatever else the kernel holds the worker by; it gets the worker's descriptors too. */
function attempts(input: object): Promise<unknown> {
  const program = new URL('attempts.py', import.meta.url).pathname;
  const child = spawn('/usr/bin/python3', [program], { stdio: ['pipe', 'pipe', 'pipe', 3, ...linkFds.values()], env: { PATH: '/usr/bin:/bin' } });
  let out = '';
  let err = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (err += text));
  child.stdin?.end(JSON.stringify(input));
  return new Promise((done, failed) => {
    child.on('error', failed);
    child.on('close', (code, signal) => {
      try {
        done(JSON.parse(out));
      } catch {
        failed(new Error(`attempts.py: ${code} ${signal} ${err}`));
      }
    });
  });
}

if (name === 'worker:1') {
  const hub = createConnection(process.env['HOSTILE_HUB'] ?? '');
  const tell = (message: FromHostile): void => void hub.write(`${JSON.stringify(message)}\n`);
  tell({ k: 'up', name, pid: process.pid, uid: process.getuid?.() ?? -1, groups: process.getgroups?.() ?? [] });
  let pending = '';
  hub.on('error', () => undefined);
  hub.on('data', (data) => {
    pending += data.toString();
    for (let end = pending.indexOf('\n'); end >= 0; end = pending.indexOf('\n')) {
      const { id, order } = JSON.parse(pending.slice(0, end)) as { id: number; order: Order };
      pending = pending.slice(end + 1);
      obey(order).then(
        (value) => tell({ k: 'result', id, value }),
        (error: unknown) => tell({ k: 'result', id, value: null, error: String(error) }),
      );
    }
  });
}
process.once('SIGTERM', () => process.exit(0));
channel.onClose(() => process.exit(0));
process.on('uncaughtException', () => undefined);
