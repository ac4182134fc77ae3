/** The sandbox's resolver: synthetic addresses for allowed names, nothing for the rest, and never a question to anybody else. */
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import type { AuditSink, Clock, Decision, Ids } from '@nemoclaw/contract';
import { isIP } from 'node:net';
import { addressBytes, reverseAddress } from './address-bytes.ts';
import { nameData, readQuery, recordType, responseCode, writeAnswer } from './dns-packet.ts';
import type { Answer, DnsQuery } from './dns-packet.ts';
import { dnsRecord } from '../records.ts';
import { sixOf } from './synthetic.ts';
import type { SyntheticAddresses } from './synthetic.ts';
import { TokenBucket } from '../fairness/token-bucket.ts';

export interface DnsOptions {
  readonly sandbox: string;
  /** Whether a name gets an address, by the policy in force now. */
  readonly allowed: (name: string) => boolean;
  /** The decision on a name that gets none: its rule and reason go on record. */
  readonly explain: (name: string) => Decision;
  readonly synthetic: SyntheticAddresses;
  readonly audit: AuditSink;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Questions answered per second; the rest is dropped. */
  readonly perSecond: number;
  /** Whether the sandbox has IPv6: names get such an address too, and an inherited socket is one for both families. */
  readonly six: boolean;
}

const ttlSeconds = 30;
const recordEvery = 1000;
/** Names that are known to be on record, at most. */
const mostRecent = 1024;
const tooMany = 'too many questions';
/** Names that get none go on record one by one so often per second, and so many at once. */
const told = { perSecond: 50, atOnce: 200 };

export class DnsResponder {
  readonly #options: DnsOptions;
  readonly #bucket: TokenBucket;
  readonly #told: TokenBucket;
  readonly #recent = new Map<string, { at: number; more: number }>();
  #socket: Socket | undefined;
  answered = 0;
  refused = 0;

  constructor(options: DnsOptions) {
    this.#options = options;
    this.#bucket = new TokenBucket(options.clock, options.perSecond, options.perSecond * 2);
    this.#told = new TokenBucket(options.clock, told.perSecond, told.atOnce);
  }

  /** UDP port served. */
  get port(): number {
    return this.#socket?.address().port ?? 0;
  }

  /** Serves on an inherited, bound UDP descriptor, or on an address. Rejects where the descriptor is of the other family. */
  serve(source: { readonly fd: number } | { readonly host: string; readonly port: number }): Promise<void> {
    const type = ('fd' in source ? this.#options.six : isIP(source.host) === 6) ? 'udp6' : 'udp4';
    const socket = createSocket(type);
    this.#socket = socket;
    socket.on('message', (packet, from) => {
      const answer = this.answer(packet);
      if (answer) socket.send(answer, from.port, from.address, () => undefined);
    });
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.bind('fd' in source ? source : { address: source.host, port: source.port }, () => {
        socket.off('error', reject);
        socket.on('error', () => undefined);
        // Answers could not be sent, and the sandbox would wait for each.
        if (socket.address().family !== (type === 'udp6' ? 'IPv6' : 'IPv4')) reject(new Error('the DNS socket is of the other family'));
        else resolve();
      });
    });
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  /** The answer to one packet, or undefined where none is sent. */
  answer(packet: Buffer): Buffer | undefined {
    if (!this.#bucket.take()) {
      this.#record('', 0, tooMany);
      return undefined;
    }
    const query = readQuery(packet);
    if (!query) return undefined;
    if (query.malformed) return writeAnswer(query, responseCode.formatError);
    if (query.opcode !== 0) return writeAnswer(query, responseCode.notImplemented);
    if (query.edns !== undefined && query.edns !== 0) return writeAnswer(query, responseCode.badVersion);
    if (query.class !== 1) return this.#refuse(query, responseCode.refused, 'only the internet class is answered');
    const reverse = query.type === recordType.ptr ? reverseAddress(query.name) : undefined;
    if (reverse !== undefined) return this.#giveName(query, reverse);
    // An address is not looked up: to be asked for one as a name is a mistake or a trick.
    if (isIP(query.name) !== 0) return this.#refuse(query, responseCode.nameError, 'an address is not a name');
    if (!this.#options.allowed(query.name)) return this.#refuse(query, responseCode.nameError, 'this name is not allowed', () => this.#options.explain(query.name));
    return this.#giveAddress(query);
  }

  #giveAddress(query: DnsQuery): Buffer {
    const { synthetic, six } = this.#options;
    // Service bindings (with their keys for encrypted hellos) do not exist here; a browser then asks for plain addresses.
    if (query.type === recordType.https || query.type === recordType.svcb || (query.type === recordType.aaaa && !six)) return this.#give(query, []);
    // One kind of record is a whole answer to ANY (RFC 8482 §4.1).
    if (query.type !== recordType.a && query.type !== recordType.aaaa && query.type !== recordType.any) return this.#refuse(query, responseCode.refused, 'only addresses are answered');
    const address = synthetic.addressOf(query.name);
    if (address === undefined) return this.#refuse(query, responseCode.refused, 'this sandbox has asked for too many names');
    return this.#give(query, query.type === recordType.aaaa ? [{ type: recordType.aaaa, data: sixOf(address) }] : [{ type: recordType.a, data: addressBytes(address) ?? Buffer.alloc(4) }]);
  }

  /** Only our own addresses have names, and loopback. */
  #giveName(query: DnsQuery, address: string): Buffer {
    const name = address === '::1' || address.startsWith('127.') ? 'localhost' : this.#options.synthetic.nameOf(address);
    return name === undefined ? this.#refuse(query, responseCode.nameError, 'no name belongs to this address') : this.#give(query, [{ type: recordType.ptr, data: nameData(name) }]);
  }

  #give(query: DnsQuery, answers: readonly Answer[]): Buffer {
    this.answered += 1;
    return writeAnswer(query, responseCode.ok, answers, ttlSeconds);
  }

  #refuse(query: DnsQuery, code: number, why: string, explain?: () => Decision): Buffer {
    this.refused += 1;
    this.#record(query.name, query.type, why, explain);
    return writeAnswer(query, code);
  }

  /** One event per name and second at most, each with the number of questions since the last, and one without a name for what is too much: a flood cannot drown the record. */
  #record(name: string, type: number, why: string, explain?: () => Decision): void {
    const now = this.#options.clock.monotonic();
    const known = this.#recent.get(name);
    if (known && now - known.at < recordEvery) {
      known.more += 1;
      return;
    }
    if (name !== '' && !this.#told.take()) return this.#record('', 0, tooMany);
    this.#recent.delete(name);
    if (this.#recent.size >= mostRecent) this.#forget(now);
    this.#recent.set(name, { at: now, more: 0 });
    this.#tell(name, type, why, 1 + (known?.more ?? 0), explain?.());
  }

  /** Forgets the names; how often they were asked for since they went on record goes there as one number. */
  #forget(now: number): void {
    let more = 0;
    for (const one of this.#recent.values()) more += one.more;
    this.#recent.clear();
    this.#recent.set('', { at: now, more: 0 });
    if (more > 0) this.#tell('', 0, tooMany, more);
  }

  #tell(name: string, type: number, why: string, count: number, decision?: Decision): void {
    const { clock, audit, ids, sandbox } = this.#options;
    audit.emit(dnsRecord({ sandbox, time: clock.now(), correlation: ids.next('dns') }, name, type, decision?.reason ?? why, count, decision));
  }
}
