/** Sends an admitted WebSocket handshake on, with the hooks for its messages and for an answer that is no WebSocket. */
import type { Core } from '../core.ts';
import type { Credential } from '../credentials/credentials.ts';
import type { AnswerHead, ByteTransform, Passing } from '../hooks.ts';
import { responseHeaders } from '../http/relay.ts';
import { searchedFields } from '../inspect/answer-head.ts';
import { WebSocketRelay } from './websocket-relay.ts';
import type { UpgradeWire } from './wire-upgrade.ts';

export interface WebSocketEvents {
  ended(): void;
  failed(error: Error): void;
}

const answerWithin = 30_000;

/** `headers`: name, value, name, value… with `host` and real credentials; `masked`: those that were put in. */
export function dispatchWebSocket(core: Core, passing: Passing, wire: UpgradeWire, headers: readonly string[], masked: readonly Credential[], events: WebSocketEvents): WebSocketRelay {
  const { name, port, tls } = passing.place;
  const { limits, upstreams } = core.ports;
  const relay = new WebSocketRelay({
    wire, headers, target: passing.checked.target, messageBytes: limits.messageBytes, answerMs: answerWithin, pace: core.pace,
    connect: () => upstreams.connect(name, port, tls),
    filters: core.hooks.messages.flatMap((hook) => hook.open(passing) ?? []),
    visible: (raw) => {
      const shown = responseHeaders([...raw], masked);
      return searchedFields(passing, shown.filter((_, i) => !(shown[i - (i % 2)] ?? '').toLowerCase().startsWith('sec-websocket-')), 'head');
    },
    open: (head: AnswerHead): readonly ByteTransform[] => core.hooks.incoming.flatMap((hook) => hook.open(passing, head) ?? []),
    events: {
      ...events,
      data: (bytes, from) => {
        if (from === 'client') core.counts.bytesOut += bytes;
        else core.counts.bytesIn += bytes;
      },
      keep: (bytes) => {
        core.buffered += bytes;
        return core.buffered <= limits.bufferedBytes;
      },
    },
  });
  void relay.run();
  return relay;
}
