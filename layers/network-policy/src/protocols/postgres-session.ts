/** PostgreSQL between the sandbox and its server: the beginning is read, decided and written anew, both sides log in to us or by us; then what the client says is inspected message by message, and the answers pass as they come. */
import { createHash, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { AppMessage, Decision } from '@nemoclaw/contract';
import { safeLine } from '@nemoclaw/contract';
import type { TlsContexts } from '../tls/contexts.ts';
import type { Core } from '../core.ts';
import { putIn } from '../credentials/credentials.ts';
import { Stopped } from '../hooks.ts';
import { inspectedBytes, settingsOf } from '../inspect/report.ts';
import type { Place } from '../http/request-check.ts';
import { ByteReader } from './byte-reader.ts';
import { Conversation, countsInName } from './conversation.ts';
import { authRequest, cancelRequest, errorResponse, gssRequest, longestStartup, readStartup, sslRequest, writeMessage, writeRequest, writeStartup } from './postgres-words.ts';
import type { Startup } from './postgres-words.ts';
import { carried, MessageEnds, PostgresWatch } from './postgres-watch.ts';
import { ScramClient } from './scram.ts';

export interface PostgresOptions {
  readonly core: Core;
  readonly contexts: TlsContexts;
  readonly place: Place;
  readonly client: Socket;
}

const nothing = Buffer.alloc(0);
const idleMs = 60_000;
/** Bytes of a message before the login is over. */
const longestMessage = 1 << 16;

/** Servers cut names there (NAMEDATALEN), so that a longer one is that of another. */
const longestName = 63;
const hasLongName = ({ parameters }: Startup): boolean => ['user', 'database'].some((one) => Buffer.byteLength(parameters.get(one) ?? '') > longestName);

export class PostgresSession extends Conversation {
  readonly #contexts: TlsContexts;
  #client: Socket;
  #reader: ByteReader;
  #up: Socket | undefined;
  /** Once bytes pass, a message of ours may only stand between two of the server. */
  #ends: MessageEnds | undefined;
  /** The end of what was said last. */
  #before: Buffer = nothing;

  constructor(options: PostgresOptions) {
    super(options.core, options.place);
    this.#contexts = options.contexts;
    this.#client = options.client;
    this.#reader = new ByteReader(options.client, idleMs);
  }

  protected override async talk(): Promise<void> {
    const first = await this.#first();
    if (first.code === cancelRequest) return this.#cancel(first.body);
    const startup = readStartup(first.body);
    const replication = startup?.parameters.get('replication');
    const replicates = replication !== undefined && !/^(false|off|no|0)$/i.test(replication);
    if (!startup || replicates || hasLongName(startup)) {
      const decision = this.refusal('proxy.postgres-startup', !startup ? 'The startup message is not well-formed.' : replicates ? 'A replication connection is not served.' : 'The name of the user or database is longer than the server reads.', '');
      this.record('deny', 'the startup message is refused', decision);
      return this.refuse(decision);
    }
    const stopped = await this.stopIn([...startup.parameters].flat().map((word) => Buffer.from(word)), { way: 'login', counts: countsInName, place: () => 'the startup message' });
    if (this.over) return;
    if (stopped) return this.#stop(stopped.decision, stopped.message);
    const user = startup.parameters.get('user') ?? '';
    // Where no name is said, or an empty one, the server takes that of the user.
    const message: AppMessage = { protocol: 'postgres', user, database: startup.parameters.get('database') || user };
    const judged = this.judge(message, new Map(Object.entries(message)));
    const about = { user: safeLine(user, 100), database: safeLine(message.database, 100) };
    if (judged.decision.verdict === 'deny') {
      this.record('deny', 'denied', judged.decision, about);
      return this.refuse(judged.decision);
    }
    if (judged.decision.verdict === 'escalate') {
      const asked = await this.ask(judged, `connect to the database ${about.database} at ${this.where} as ${about.user}`, `A database connection to ${this.where}. What is asked inside it is inspected, but not decided on.`);
      if (this.over) return;
      if (asked.verdict !== 'allow') {
        const hint = asked.verdict === 'waiting' ? 'Connect again later; it passes once after approval.' : asked.decision.hint;
        this.record('deny', asked.verdict === 'waiting' ? 'still waiting for approval' : 'not approved', asked.decision, { ...about, approvalId: asked.approvalId });
        return this.refuse({ ...asked.decision, hint });
      }
    }
    this.runs('', judged, judged.decision.verdict === 'escalate');
    const over = this.overRate(message);
    if (over) {
      this.record('deny', 'over the rate of its rule', over, about);
      return this.refuse(over);
    }
    if (judged.decision.verdict === 'allow') this.record('allow', 'database connection', judged.decision, about);
    this.core.counts.allowed += 1;
    const up = await this.#connect();
    if (this.over) return;
    up.write(writeStartup(startup));
    const reader = new ByteReader(up, idleMs);
    if (await this.#logIn(reader, up, startup)) await this.#pass(reader, up);
  }

  protected override refuse(decision: Decision): void {
    if (this.#ends?.whole === false || !this.#client.writable) return;
    this.#client.write(errorResponse(`denied by policy: ${decision.reason}`, `rule ${decision.rules[0]?.id ?? 'default'}, event ${this.about.correlation}`, decision.hint));
  }

  protected override readAhead(): () => void {
    return this.#reader.ahead();
  }

  protected override close(): void {
    this.#reader.detach();
    this.#client.destroySoon();
    this.#up?.destroySoon();
  }

  /** The first message that is more than a question about encryption: its code, and its bytes after the length. */
  async #first(): Promise<{ readonly code: number; readonly body: Buffer }> {
    for (let questions = 0; questions < 3; questions += 1) {
      const length = (await this.#reader.exactly(4)).readUInt32BE(0);
      if (length < 8 || length > longestStartup) throw new Error('the first message has a wrong length');
      const body = await this.#reader.exactly(length - 4);
      const code = body.readUInt32BE(0);
      if (code !== sslRequest && code !== gssRequest) return { code, body };
      // What came with the question was sent in the clear (CVE-2021-23214).
      if (length !== 8 || this.#reader.waiting > 0) throw new Error('something was sent with the question about encryption');
      if (code === gssRequest || 'encrypted' in this.#client) this.#client.write('N');
      else {
        this.#client.write('S');
        this.#reader.detach();
        const tls = await this.encrypt(this.#client, this.#contexts);
        this.#client = tls;
        tls.once('close', () => this.end());
        this.#reader = new ByteReader(tls, idleMs);
      }
    }
    throw new Error('too many questions about encryption');
  }

  /** Encrypted, unless the policy itself names the address. */
  async #connect(): Promise<Socket> {
    const { name, port } = this.place;
    const { upstreams } = this.core.ports;
    const plain = await upstreams.connect(name, port, false);
    this.#up = plain;
    plain.write(writeRequest(sslRequest));
    const reader = new ByteReader(plain, idleMs);
    const answer = (await reader.exactly(1)).toString('latin1');
    if (reader.waiting > 0) throw new Error('the server sent something with its answer about encryption');
    reader.detach();
    if (answer === 'S') this.#up = await upstreams.secure(plain, name, port, []);
    else if (answer !== 'N' || !upstreams.pinned(name)) throw new Error('the server does not encrypt, and the policy does not name its address');
    this.#up.once('close', () => this.end());
    return this.#up;
  }

  /** A running command is ended by a connection of its own, which carries nothing but a key. */
  async #cancel(body: Buffer): Promise<void> {
    const { decision } = this.judge({ protocol: 'postgres', user: '', database: '' });
    if (decision.verdict !== 'allow' || body.length < 12 || body.length > 268) {
      this.record('deny', 'a cancel request is refused', decision);
      return;
    }
    this.record('allow', 'cancel request', decision);
    const up = await this.#connect();
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length + 4, 0);
    up.end(Buffer.concat([length, body]));
  }

  /** The login with the server; the client's password is asked for once, in the clear on this machine. False where the server refused. */
  async #logIn(reader: ByteReader, up: Socket, startup: Startup): Promise<boolean> {
    let password: string | undefined;
    let scram: ScramClient | undefined;
    for (let turn = 0; turn < 20; turn += 1) {
      const head = await reader.exactly(5);
      const type = head.toString('latin1', 0, 1);
      const length = head.readUInt32BE(1);
      if (length < 4 || length > longestMessage) throw new Error('the server sent a message of a wrong length');
      const body = await reader.exactly(length - 4);
      if (type !== 'R') {
        if (type !== 'E' && type !== 'N' && type !== 'v') throw new Error('the server sent something unexpected before the login');
        this.#client.write(writeMessage(type, body));
        if (type === 'E') return false;
        continue;
      }
      const code = body.length >= 4 ? body.readUInt32BE(0) : -1;
      const rest = body.subarray(4);
      switch (code) {
        case 0:
          // A server that lets in without having shown that it knows the password is not the one that was asked.
          if (scram && !scram.verified) throw new Error('the server ended SCRAM early');
          this.#client.write(writeMessage('R', body));
          return true;
        case 3:
          password ??= await this.#password();
          up.write(writeMessage('p', Buffer.from(`${password}\0`, 'utf8')));
          break;
        case 5: {
          password ??= await this.#password();
          const inner = md5(Buffer.from(`${password}${startup.parameters.get('user') ?? ''}`, 'utf8'));
          up.write(writeMessage('p', Buffer.from(`md5${md5(Buffer.concat([Buffer.from(inner), rest]))}\0`)));
          break;
        }
        case 10: {
          if (!rest.toString('latin1').split('\0').includes('SCRAM-SHA-256')) throw new Error('the server offers no login that is known here');
          password ??= await this.#password();
          scram = new ScramClient(password, randomBytes(18).toString('base64'));
          const first = Buffer.from(scram.first());
          const size = Buffer.alloc(4);
          size.writeUInt32BE(first.length, 0);
          up.write(writeMessage('p', Buffer.concat([Buffer.from('SCRAM-SHA-256\0'), size, first])));
          break;
        }
        case 11:
          if (!scram) throw new Error('the server answers a login that was not begun');
          up.write(writeMessage('p', Buffer.from(await scram.final(rest.toString('utf8')))));
          break;
        case 12:
          if (!scram) throw new Error('the server answers a login that was not begun');
          scram.verify(rest.toString('utf8'));
          break;
        default:
          throw new Error('the server asks for a login that is not known here');
      }
    }
    throw new Error('the login does not come to an end');
  }

  async #password(): Promise<string> {
    this.#client.write(authRequest(3));
    const head = await this.#reader.exactly(5);
    const length = head.readUInt32BE(1);
    if (head[0] !== 0x70 || length < 5 || length > longestStartup) throw new Error('the client did not send a password');
    const body = await this.#reader.exactly(length - 4);
    if (body.indexOf(0) !== body.length - 1) throw new Error('the client did not send a password');
    const { config, ports } = this.core;
    const given = body.toString('utf8', 0, body.length - 1);
    const stopped = await this.stopInLogin([given]);
    if (stopped) throw new Stopped(stopped.decision, stopped.message);
    const real = putIn(given, config.credentials, { host: this.place.name, port: this.place.port, header: 'auth', confidential: this.#encrypted || ports.upstreams.pinned(this.place.name) });
    if (real === undefined) throw new Error('a credential placeholder stands in the password for a host that it is not bound to');
    return real;
  }

  get #encrypted(): boolean {
    return this.#up !== undefined && 'encrypted' in this.#up;
  }

  /** What of this goes on. A query cannot be rewritten, nor wait for a person with others behind it: `redact` and `escalate` block, and the connection ends. */
  async #inspected(watch: PostgresWatch, chunk: Buffer): Promise<Buffer> {
    const held = watch.kept;
    const { scanForPII } = settingsOf(this.core);
    const { pass, spoken, problem } = watch.next(chunk, scanForPII);
    this.core.buffered += watch.kept - held;
    // Where nothing is searched messages are not read, and may be of any size: the own secrets are looked for all the same.
    const values = scanForPII ? spoken.map(({ text }) => Buffer.concat(text)) : [this.#window(chunk)];
    const stopped = await this.stopIn(values, { way: 'query', counts: () => true, place: (n) => spoken[n - 1]?.place ?? 'a message' });
    if (this.over) return nothing;
    const why = problem ?? (this.core.buffered > this.core.ports.limits.bufferedBytes ? 'too much is held already' : undefined);
    if (stopped) this.#stop(stopped.decision, stopped.message);
    else if (why !== undefined) this.#stop(this.refusal('inspection.maxBody', `${why.charAt(0).toUpperCase()}${why.slice(1)}.`, 'Send it in smaller pieces.'), why);
    else return pass;
    return nothing;
  }

  #window(chunk: Buffer): Buffer {
    const window = Buffer.concat([this.#before, chunk]);
    this.#before = Buffer.from(window.subarray(-carried));
    return window;
  }

  #stop(decision: Decision, why: string): void {
    this.record('deny', why, decision);
    this.refuse(decision);
    this.end();
  }

  async #pass(reader: ByteReader, up: Socket): Promise<void> {
    const ends = new MessageEnds();
    this.#ends = ends;
    reader.detach();
    this.#reader.detach();
    const client = this.#client;
    const watch = new PostgresWatch(inspectedBytes(this.core));
    client.on('data', (chunk: Buffer) => {
      client.pause();
      void this.#inspected(watch, chunk).then((passed) => {
        this.core.counts.bytesOut += passed.length;
        if (up.writable && passed.length > 0 && !up.write(passed)) up.once('drain', () => client.resume());
        else client.resume();
      }, () => this.end());
    });
    client.once('end', () => up.end());
    client.once('close', () => { this.core.buffered -= watch.kept; });
    up.on('data', (chunk: Buffer) => {
      this.core.counts.bytesIn += chunk.length;
      ends.next(chunk);
    });
    up.pipe(client);
    await new Promise<void>((resolve) => {
      client.once('close', resolve);
      up.once('close', resolve);
    });
  }
}

/** PostgreSQL's old login is made of it; nothing here relies on its strength. */
function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}
