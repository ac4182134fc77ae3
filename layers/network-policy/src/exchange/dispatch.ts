/** Sends one allowed request on: its head made anew, credentials put in, its bytes through the outgoing hooks, and the answer's through the incoming ones. */
import type { Decision } from '@nemoclaw/contract';
import { AwsChunkWriter, awsChunkReader, resigned } from '../body/aws-chunked.ts';
import { bodyLimit } from '../body/body-limit.ts';
import { refusal } from '../core.ts';
import { insertCredentials } from '../credentials/credentials.ts';
import type { Credential } from '../credentials/credentials.ts';
import { grpcAnswers, grpcTransforms, isFramed, isGrpc } from '../protocols/grpc.ts';
import type { Keep } from '../protocols/grpc.ts';
import type { AnswerHead, ByteTransform, PatientTransform } from '../hooks.ts';
import { AnswerGate } from '../inspect/answer-gate.ts';
import { searchedFields } from '../inspect/answer-head.ts';
import { readsAnswers } from '../inspect/answer-plan.ts';
import { hasCredential } from '../inspect/answers.ts';
import { undoable } from '../inspect/content-decoder.ts';
import { searchedTrailers } from '../inspect/request-trailers.ts';
import { asksForRows } from '../inspect/row-ranges.ts';
import { authority } from '../judge/judge.ts';
import { OutgoingBody } from '../body/outgoing-body.ts';
import type { PassingRequest } from './passing.ts';
import { dropField, valueOf } from '../http/fields.ts';
import { Relay } from '../http/relay.ts';
import { newerValues, RenewingHandler } from '../credentials/renewal.ts';
import type { CheckedRequest } from '../http/request-check.ts';
import { hashOf } from '../credentials/sigv4.ts';
import type { ChunkSigner } from '../credentials/sigv4.ts';
import { safeTrailers } from '../http/trailers.ts';
import { dispatchWebSocket } from '../websocket/websocket-dispatch.ts';
import type { WebSocketRelay } from '../websocket/websocket-relay.ts';
import { UpgradeWire } from '../websocket/wire-upgrade.ts';
import type { Wire } from '../http/wire.ts';

/** What the exchange is told while its request is under way. */
export interface Underway {
  /** Who can stop it, before anything is sent. */
  started(relay: Relay | WebSocketRelay): void;
  ended(): void;
  failed(error: Error): void;
  /** A credential cannot be put in. */
  misplaced(decision: Decision): void;
  /** Whether it may go out once more. */
  live(): boolean;
  /** It does, with a newer credential. */
  sentAgain(): void;
}

/** `held`: the body, where it was read before the decision; its messages were looked at. Throws what hooks throw. */
export function dispatch(passing: PassingRequest, wire: Wire, held: Buffer | undefined, underway: Underway): void {
  const { core, place, checked } = passing;
  const headers = ['host', authority(place), ...checked.headers];
  plainAnswer(passing, headers, wire);
  const inserted = insertInto(headers, passing, held || !checked.hasBody ? hashOf(held) : undefined);
  if ('verdict' in inserted) {
    underway.misplaced(inserted);
    return;
  }
  if (wire instanceof UpgradeWire) {
    underway.started(dispatchWebSocket(core, passing, wire, headers, inserted.used, underway));
    return;
  }
  const limit = held || checked.hasBody ? bodyLimit(passing, held?.length ?? checked.length ?? 0) : undefined;
  wire.goOn();
  const { chunks } = inserted;
  const body = (held && chunks ? resigned(passing, held, chunks) : held) ?? (checked.hasBody ? outgoing(passing, wire, limit, headers, chunks) : null);
  if (Buffer.isBuffer(body)) sayLength(headers, checked, body);
  const relay = new Relay(wire, inserted.used, (fields, where) => searchedFields(passing, fields, where), (head) => incoming(passing, wire, head), {
    data: (bytes) => { core.counts.bytesIn += bytes; },
    ended: () => {
      core.counts.bytesOut += Buffer.isBuffer(body) ? body.length : (body?.bytes ?? 0);
      underway.ended();
    },
    failed: (error) => underway.failed(error),
  }, core);
  underway.started(relay);
  const gate = readsAnswers(passing) || !core.values.empty ? new AnswerGate(passing, relay, underway.live, (withdraw) => wire.onHalfClose?.(withdraw)) : relay;
  const { name, port, tls } = place;
  const { version } = wire;
  const send = (out: readonly string[], handler: Relay | AnswerGate | RenewingHandler): void => core.ports.upstreams.send({ host: name, port, tls, version, path: checked.target, method: checked.method, headers: out, body, trailers: () => searchedTrailers(passing, safeTrailers(wire.trailers())) }, handler);
  const whenFewer = (handler: Relay | AnswerGate | RenewingHandler): void => {
    const forget = core.stalled.whenFewer(() => {
      if (!underway.live()) return;
      try {
        send(headers, handler);
      } catch (error) {
        underway.failed(error instanceof Error ? error : new Error('it could not be sent'));
      }
    });
    // It keeps a body that nobody counts any more.
    if (forget) wire.onClose(forget);
  };
  if (!core.ports.renew || !inserted.used.some((one) => one.renewable === true)) {
    whenFewer(gate);
    return;
  }
  const again = (): void => {
    if (!underway.live()) return;
    const fresh = ['host', authority(place), ...checked.headers];
    plainAnswer(passing, fresh, wire);
    const anew = insertInto(fresh, passing, hashOf(held));
    if ('verdict' in anew) {
      underway.misplaced(anew);
      return;
    }
    if (held) sayLength(fresh, checked, held);
    relay.mask(anew.used);
    underway.sentAgain();
    send(fresh, gate);
  };
  whenFewer(new RenewingHandler(gate, { renew: () => newerValues(core, inserted.used), again: body instanceof OutgoingBody || chunks ? undefined : again }));
}

/** Puts credentials into the headers of a request, or says why it must not go. `bodyHash`: what a signature is made over, undefined where the body is not read. */
export function insertInto(headers: string[], { core, place, checked }: PassingRequest, bodyHash: string | undefined): { readonly used: readonly Credential[]; readonly chunks?: ChunkSigner } | Decision {
  const { config, ports } = core;
  const { name, port, tls } = place;
  const result = insertCredentials(headers, checked.target, config.credentials, { host: name, port, method: checked.method, bodyHash, framed: checked.awsChunked === true, paths: checked.paths, confidential: tls || ports.upstreams.pinned(name) });
  if (result.state === 'done') return result;
  if (result.state === 'unsigned') return refusal(config.version, 'credentials.sigv4', `The request cannot be signed for AWS: ${result.why}.`, 'Sign it by Signature Version 4 in the authorization header, with the placeholder as the access key, and send it within its region and service.');
  return refusal(config.version, 'credentials.binding', `A credential placeholder stands in ${result.where}, where it is not bound to.`, 'Use the placeholder only in the header and for the host it was given for.');
}

/** A body that goes out as it comes, through what looks at it. */
function outgoing(passing: PassingRequest, wire: Wire, limit: ByteTransform | undefined, headers: string[], signer: ChunkSigner | undefined): OutgoingBody {
  const transforms: PatientTransform[] = limit ? [limit] : [];
  if (isFramed(passing.checked.contentType)) transforms.push(...grpcTransforms(passing, keeping(passing, wire)));
  else for (const hook of passing.core.hooks.outgoing) {
    const transform = hook.open(passing);
    if (!transform) continue;
    transforms.push(transform);
    if (hook.changesLength) dropField(headers, 'content-length');
  }
  if (passing.checked.awsChunked === true && (transforms.length > 0 || signer)) {
    // They look at the data; its chunks are made anew, since what they keep back moves between them.
    const reader = awsChunkReader(passing);
    transforms.unshift(reader);
    transforms.push(new AwsChunkWriter(reader, signer));
    dropField(headers, 'content-length');
  }
  return new OutgoingBody(wire, transforms, passing.core.pace);
}

/** Counts what is held of one direction among all that this sandbox has held, until the request is over. */
function keeping({ core }: PassingRequest, wire: Wire): Keep {
  let kept = 0;
  let over = false;
  wire.onClose(() => {
    over = true;
    core.buffered -= kept;
  });
  return (bytes) => {
    if (over) return true;
    kept += bytes;
    core.buffered += bytes;
    return core.buffered <= core.ports.limits.bufferedBytes;
  };
}

/** What looks at the answer, in the order of the hooks. */
function incoming(passing: PassingRequest, wire: Wire, head: AnswerHead): readonly PatientTransform[] {
  if (isGrpc(passing.checked.contentType) && isGrpc(valueOf(head.headers, 'content-type'))) return grpcAnswers(passing, head, keeping(passing, wire));
  // Only this one holds what it reads.
  if (passing.asked.some(({ message }) => message.protocol === 'mcp')) passing.keep = keeping(passing, wire);
  const out: ByteTransform[] = [];
  for (const hook of passing.core.hooks.incoming) {
    const transform = hook.open(passing, head);
    if (transform) out.push(transform);
  }
  return out;
}

/** Ask for an answer in an encoding, in parts, or as a difference from an earlier one. */
const formsOfAnswers = ['accept-encoding', 'grpc-accept-encoding', 'connect-accept-encoding', 'accept-charset', 'range', 'request-range', 'if-range', 'a-im'];

/** What comes back is searched or read, so it must not come encoded, or only as it can be undone; and whole, or in whole rows, since a value could come in parts of an answer. */
function plainAnswer(passing: PassingRequest, headers: string[], wire: Wire): void {
  const unencoded = hasCredential(passing) || passing.asked.some(({ message }) => message.protocol === 'mcp');
  const read = readsAnswers(passing);
  if (!unencoded && !read) return;
  const rows = asksForRows(headers);
  for (const name of formsOfAnswers) if (name !== 'range' || !rows) dropField(headers, name);
  if (unencoded || wire instanceof UpgradeWire) return;
  const accepted = undoable(valueOf(passing.checked.headers, 'accept-encoding'));
  if (accepted !== '') headers.push('accept-encoding', accepted);
}

/** A body that was replaced, or that came in chunks and is here as a whole, has a length of its own. */
function sayLength(headers: string[], checked: CheckedRequest, body: Buffer): void {
  if (checked.length === body.length) return;
  dropField(headers, 'content-length');
  headers.push('content-length', String(body.length));
}
