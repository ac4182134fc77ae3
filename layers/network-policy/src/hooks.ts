/**
 * Where other parts hook into an exchange, whatever its wire. A hook is an object in the list of standard-hooks.ts; hooks of one kind run in the order of that list.
 * `name`: hosts, before they are looked up. `heads`: URL and headers of every request. `beforeDecision`: reads the held body (already without its content encoding) into what the policy decides by, and may replace it or refuse.
 * `outgoing`: bytes of a body that is passed on as it comes. `incoming`: head and bytes of the answer. `limits`: after the decision, before anything is sent.
 * `messages`: each WebSocket message, both ways. Whatever a hook throws is a denial: `Stopped` with its own decision, anything else as a failure of the proxy.
 */
import type { ActionRequest, Decision } from '@nemoclaw/contract';
import type { Resolved } from '@nemoclaw/decide';
import type { Core } from './core.ts';
import type { HttpResource } from './judge/judge.ts';
import type { CheckedRequest, Place } from './http/request-check.ts';

/** What an application protocol said, as the policy is asked about it. */
export type HttpMessage = HttpResource extends { readonly message?: infer M } ? NonNullable<M> : never;

/** One request as hooks see it. */
export interface Passing {
  readonly core: Core;
  readonly place: Place;
  readonly checked: CheckedRequest;
  readonly correlation: string;
  /** What the policy is asked for one reading of the path, with the first of what is asked for inside once that is read. */
  resource(path: string): HttpResource;
  /** What an application protocol said in it; [] until it is read, and for most. */
  readonly asked: readonly Asked[];
  /** Whether inspection found something in its path; absent until that was looked into. */
  foundInPath?: boolean | undefined;
  /** Set once the policy has decided. */
  readonly judged: { readonly request: ActionRequest; readonly decision: Decision; readonly each: readonly (readonly HttpResource[])[] } | undefined;
  /** Told of bytes of the answer that a hook holds from now on, less than 0 where it holds fewer; they count until the request is over. False: that is too much. Absent: nobody counts. */
  readonly keep?: ((bytes: number) => boolean) | undefined;
}

/** Thrown by a hook: the request ends with this decision. `message` is for the record, in plain words, without payload. */
export class Stopped extends Error {
  readonly decision: Decision;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Joins the body of the denial, and its record. */
  readonly more: Readonly<Record<string, unknown>>;
  constructor(decision: Decision, message: string, status = 403, headers: Readonly<Record<string, string>> = {}, more: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.more = more;
    this.decision = decision;
    this.status = status;
    this.headers = headers;
  }
}

/** One thing that is asked for inside a request. */
export interface Asked {
  /** `resource.message` of the request that is decided. */
  readonly message: HttpMessage;
  /** Names the action where the catalogue lists what is asked for. */
  readonly action?: Resolved;
  /** What an approval binds to, in place of the fields of the body. */
  readonly params?: ReadonlyMap<string, unknown>;
}

/** The denial in the words of an application protocol, or undefined to leave it as it is. `data`: the body that any denial has. */
export type DenialShape = (data: Readonly<Record<string, unknown>>, status: number) => { readonly status: number; readonly body: Readonly<Record<string, unknown>> | readonly Readonly<Record<string, unknown>>[] } | undefined;

/** What a body means. */
export interface Reading {
  /** Joins the attributes that a decision may ask for. */
  readonly attributes?: ReadonlyMap<string, unknown>;
  /** What an application protocol said, each part a request of its own: all are decided, the strictest decision counts. */
  readonly asked?: readonly Asked[];
  /** How this client is told of a denial. */
  readonly shape?: DenialShape;
  /** Is sent instead of the body that came, in the same content encoding. */
  readonly body?: Buffer;
  /** The request is held for a person, with this reason, even where the policy allows it. */
  readonly escalate?: Decision;
  /** Classes of findings that the card of a question does not show; `decoded`: what is found in an encoding inside the body, so that the body is not shown. */
  readonly hidden?: ReadonlySet<string>;
}

/** Reads the head of every request, before its body and before the policy. Throws `Stopped` to refuse. */
export interface HeadReader {
  read(passing: Passing): Pick<Reading, 'escalate' | 'hidden'> | undefined;
}

export interface BodyReader {
  /** It looks for what must not leave; the decision does not depend on it. Then a request that is denied anyway is denied before its body is read. */
  readonly inspects?: true;
  /** Requests without a body are read too, as if theirs were empty. */
  readonly bodiless?: true;
  /** Whether the decision needs the whole body. Cheap: asked for every request with a body. */
  needs(passing: Passing): boolean;
  /** Called where a body without a length is larger than what is held, if whoever needs it has this: it goes on as it comes, through the outgoing hooks. Throws `Stopped` to refuse. */
  larger?(passing: Passing): Pick<Reading, 'escalate' | 'hidden'> | undefined;
  /** Called for every held body. `readable`: without its content encoding; `raw`: as it came. Throws `Stopped` to refuse. */
  read(passing: Passing, readable: Buffer, raw: Buffer): Reading | undefined | Promise<Reading | undefined>;
}

/** Works on bytes as they pass. Bytes that are given back have left; what must not leave is kept until it is judged. */
export interface ByteTransform {
  /** What may go on now, possibly nothing. Throws `Stopped` to end the request. */
  next(chunk: Buffer): Buffer;
  /** What was kept, at the end. */
  end(): Buffer;
  /** Nothing passes before the end: the head of the answer waits for that too, so that a refusal is an answer of its own. */
  readonly keepsAll?: boolean;
}

export type Passed = Buffer | Promise<Buffer>;

/** The same where a long message is looked at elsewhere: what comes behind it waits, and `next` is called again once it is through. */
export interface PatientTransform {
  /** Throws `Stopped`, or rejects with it, to end the request. */
  next(chunk: Buffer): Passed;
  end(): Buffer;
  readonly keepsAll?: boolean;
}

export interface OutgoingHook {
  /** Undefined: nothing to do for this request. Only asked where the body is streamed; a held one was seen by the body readers. */
  open(passing: Passing): ByteTransform | undefined;
  /** In place of `open`, for each message of gRPC. `whole`: it comes as one piece. */
  openMessage?(passing: Passing, whole: boolean): PatientTransform | undefined;
  /** Whether `open` may change the length of the body: then it is sent without one. */
  readonly changesLength?: boolean;
  /** Whether it is given messages of gRPC whole, where they are not larger than what is held. Asked for each. */
  wholeMessages?(passing: Passing): boolean;
}

/** The head of an answer; hooks may change both. */
export interface AnswerHead {
  status: number;
  /** Name, value, name, value… */
  headers: string[];
}

export interface IncomingHook {
  /** May change the head. Undefined: the bytes pass as they are. Whoever changes the length takes `content-length` out of the head. */
  open(passing: Passing, head: AnswerHead): ByteTransform | undefined;
  /** In place of `open`, for each message of gRPC. */
  openMessage?(passing: Passing, head: AnswerHead): PatientTransform | undefined;
}

export interface LimitHook {
  /** Called once for every request that may pass, after the decision (and the approval). Throws `Stopped` to refuse, e.g. with 429. */
  admit(passing: Passing): void;
  /** Bytes of the request body at most; undefined: no limit. A longer body is refused, with 413 where nothing was answered yet. */
  maxBody?(passing: Passing): { readonly bytes: number; readonly decision: Decision } | undefined;
}

/** One WebSocket message, whole. */
export interface SocketMessage {
  readonly from: 'client' | 'server';
  readonly binary: boolean;
  readonly data: Buffer;
}

/** What is passed on of a message, undefined to drop it; later where it is long: what comes behind it waits. */
export type Filtered = Buffer | undefined | Promise<Buffer | undefined>;

export interface MessageHook {
  /** Undefined: the messages of this connection are not looked at. The function throws, or rejects with, `Stopped` to close with 1008. */
  open(passing: Passing): ((message: SocketMessage) => Filtered) | undefined;
}

export interface Hooks {
  /** The denial of every name of a host that holds what must not leave: before it gets an address, and with each decision. */
  readonly name: (core: Core, name: string) => Decision | undefined;
  readonly heads: readonly HeadReader[];
  readonly beforeDecision: readonly BodyReader[];
  readonly outgoing: readonly OutgoingHook[];
  readonly incoming: readonly IncomingHook[];
  readonly limits: readonly LimitHook[];
  readonly messages: readonly MessageHook[];
}
