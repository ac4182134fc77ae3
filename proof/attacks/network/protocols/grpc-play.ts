/** Plays calls by prior knowledge to a server of HTTP/2: what is whole there has to be the call that was decided, byte for byte. */
import type { Checks } from '../../../harness/checks.ts';
import { doors, enter, openPolicyDesk } from '../desk.ts';
import { openHttp2Upstream } from '../../../../layers/network-policy/src/testing/testing-http2.ts';
import { frame, preface } from './frames.ts';
import { grpc } from './grpc-table.ts';
import { react, withPort } from './http2-play.ts';

export async function grpcAttacks(check: Checks): Promise<void> {
  check.section('the way out: gRPC');
  const heard: string[] = [];
  const upstream = await openHttp2Upstream((stream, raw) => {
    const parts: Buffer[] = [];
    const path = raw[raw.indexOf(':path') + 1] ?? '';
    stream.on('data', (chunk: Buffer) => parts.push(chunk));
    stream.on('end', () => {
      if (!stream.aborted) heard.push(`${path} ${Buffer.concat(parts).toString('hex')}`);
      if (stream.destroyed) return;
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end();
    });
  });
  const desk = await openPolicyDesk({
    network: `networkPolicy:\n  name: calls\n  egress:\n    allow:\n      - { domain: grpc.test, ports: [${upstream.port}], protocol: grpc, paths: [/demo.Echo/Say] }\n      - { domain: grpc.test, ports: [${upstream.port}], methods: [POST], paths: [/web/Say] }\n  inspection: { scanForPII: true }\n`,
    pins: [{ host: 'grpc.test' }], ports: [upstream.port], intercepted: ['grpc.test'],
  });
  try {
    for (const { name, frames, arrives } of grpc) {
      const wrong: unknown[] = [];
      for (const door of doors) {
        heard.length = 0;
        const socket = await enter(desk, door, 'grpc.test', upstream.port);
        if (!socket) {
          wrong.push({ door, problem: 'no way in' });
          continue;
        }
        socket.resume();
        const reaction = await react(socket, [preface, frame('settings', 0, 0), ...frames.map((one) => (one.includes('$PORT') ? withPort(one, 'grpc.test:', upstream.port) : one))], 1);
        if (JSON.stringify(heard) !== JSON.stringify(arrives === undefined ? [] : [arrives])) wrong.push({ door, reaction, heard: heard.map((one) => one.slice(0, 300)) });
      }
      check.that(`gRPC, ${name}: ${arrives === undefined ? 'no call arrives' : 'arrives as it is'}`, wrong.length === 0, wrong);
    }
  } finally {
    await desk.close();
    await upstream.close();
  }
}
