/** Reads the body of a request before its decision, where that depends on it: bounded in size, time and all bodies together, without its content encoding. */
import type { Core } from '../core.ts';
import { refusal } from '../core.ts';
import { Stopped } from '../hooks.ts';
import type { BodyReader } from '../hooks.ts';
import { inspectedBytes } from '../inspect/report.ts';
import { undoAside } from '../inspect/inspect-aside.ts';
import { unframed } from '../body/aws-chunked.ts';
import { collectBody } from '../body/outgoing-body.ts';
import type { PassingRequest } from './passing.ts';
import type { RequestRead } from './request-read.ts';
import type { Wire } from '../http/wire.ts';

/** What has to be read first: `inspected` only what looks for what must not leave, `all` what the decision depends on. */
export function readsAhead(passing: PassingRequest): 'nothing' | 'inspected' | 'all' {
  let reads: 'nothing' | 'inspected' | 'all' = 'nothing';
  for (const reader of passing.core.hooks.beforeDecision) {
    if (!((passing.checked.hasBody || reader.bodiless === true) && reader.needs(passing))) continue;
    if (reader.inspects !== true) reads = 'all';
    else if (reads === 'nothing') reads = 'inspected';
  }
  return reads;
}

/** Fills `read` by the hooks that read bodies. Stops early when `deciding` says no; rejects with Stopped where the request is refused for its body. */
export async function readAhead(wire: Wire, passing: PassingRequest, read: RequestRead, deciding: () => boolean): Promise<void> {
  const { core, checked } = passing;
  if (!checked.hasBody) {
    for (const reader of core.hooks.beforeDecision) if (reader.bodiless === true) read.understand(passing, await reader.read(passing, nothing, nothing));
    return;
  }
  const needing = (): readonly BodyReader[] => core.hooks.beforeDecision.filter((reader) => reader.needs(passing));
  const first = needing();
  const streams = checked.length === undefined && first.every(({ larger }) => larger);
  const mostRead = streams ? inspectedBytes(core) : Math.max(core.ports.limits.bodyBytes, inspectedBytes(core));
  const why = first.every(({ inspects }) => inspects) ? 'The body of this request has to be known before it leaves' : 'The policy depends on the body of this request';
  const body = await heldBody(core, wire, passing, mostRead, why, deciding);
  if (!body || !deciding()) return;
  if (body === 'long') {
    // The policy may be another by now.
    const now = needing();
    if (!streams || now.some(({ larger }) => !larger)) throw tooLarge(core, why, mostRead);
    for (const reader of now) read.note(reader.larger?.(passing));
    return;
  }
  const undoing = undoAside(core.ports.sandbox, { body: unframed(passing, body), encoding: checked.contentEncoding, limit: Math.max(core.ports.limits.bodyBytes * 4, mostRead) });
  const undone = undoing instanceof Promise ? await undoing : undoing;
  if (!deciding()) return;
  if (undone.state !== 'done') throw new Stopped(refusal(core.config.version, 'proxy.body-encoding', `It cannot be checked: ${undone.why}.`, 'Send the body without a content encoding.'), undone.why);
  read.body = body;
  read.readable = undone.body;
  const attributes = new Map<string, unknown>();
  for (const reader of core.hooks.beforeDecision) {
    // A long body takes its turn; what it is read for counts in any case.
    await core.pace.rested();
    if (!deciding()) return;
    const reading = core.pace.measure(() => reader.read(passing, undone.body, read.body ?? body));
    const found = reading instanceof Promise ? await reading : reading;
    if (!deciding()) return;
    for (const [name, value] of found?.attributes ?? []) attributes.set(name, value);
    read.understand(passing, found);
    read.body = found?.body ?? read.body;
    read.note(found);
  }
  read.attributes = attributes;
}

/** The whole body, counted among all that are held until the answer is out; `long`: it is larger, and none of it was taken; undefined where the request ended meanwhile. */
async function heldBody(core: Core, wire: Wire, { checked }: PassingRequest, mostRead: number, why: string, deciding: () => boolean): Promise<Buffer | 'long' | undefined> {
  const { bufferedBytes, bodyMs } = core.ports.limits;
  // What has a length is counted at once, what has none as it comes.
  let size = checked.length ?? 0;
  if (size > mostRead || core.buffered + size > bufferedBytes) throw tooLarge(core, why, mostRead);
  core.buffered += size;
  wire.onClose(() => { core.buffered -= size; });
  wire.goOn();
  const body = await collectBody(wire.body, mostRead, bodyMs, (more) => {
    if (checked.length !== undefined) return true;
    if (core.buffered + more > bufferedBytes || !deciding()) return false;
    size += more;
    core.buffered += more;
    return true;
  });
  if (!deciding()) return undefined;
  if (body === 'late') throw new Stopped(refusal(core.config.version, 'proxy.body-late', `${why}, and it comes too slowly.`, 'Send the body faster, or in smaller pieces.'), 'the body comes too slowly', 408);
  if (body === 'long') {
    // It is no longer held as soon as it goes on.
    const goesOn = (chunk: Buffer): void => {
      const gone = Math.min(size, chunk.length);
      size -= gone;
      core.buffered -= gone;
      if (size === 0) wire.body.off('data', goesOn);
    };
    wire.body.on('data', goesOn);
    return body;
  }
  if (!Buffer.isBuffer(body)) throw tooLarge(core, why, mostRead);
  return body;
}

function tooLarge(core: Core, why: string, mostRead: number): Stopped {
  return new Stopped(refusal(core.config.version, 'proxy.body-too-large', `${why}, and it is larger than ${mostRead} bytes, or too much is held already.`, 'Send a smaller body.'), 'the body is too large to decide on');
}

const nothing = Buffer.alloc(0);
