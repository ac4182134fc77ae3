/** Redis between the sandbox and its server: every command is read whole, decided by its name, and written anew. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Decision } from '@nemoclaw/contract';
import { safeBlock } from '@nemoclaw/contract';
import { redactForCard, shownOnCards } from '@nemoclaw/detect';
import type { Core } from '../core.ts';
import { putIn, withoutPlaceholders } from '../credentials/credentials.ts';
import { KnownSecrets } from '../credentials/known-secrets.ts';
import type { Place } from '../http/request-check.ts';
import { ByteReader, ReadEnded } from './byte-reader.ts';
import { Conversation } from './conversation.ts';
import type { Judged } from './conversation.ts';
import { readRespCommand, ReplyCounter, respError, respName, RespProblem, writeRespCommand } from './resp.ts';

const idleMs = 300_000;
/** Commands that are sent on before their replies are read. */
const mostOpen = 10_000;
/** What a client says of itself, before and after its work: no rule has to name it, but one may. */
const transport = new Set(['HELLO', 'AUTH', 'PING', 'QUIT', 'CLIENT SETNAME', 'CLIENT SETINFO']);
/** What no value looks like: the name is on record. */
const plainName = /^[A-Z][A-Z._]{0,40}(?: [A-Z_-]{1,40})?$/;
const changesQueue = new Set(['MULTI', 'EXEC', 'DISCARD']);
const logsIn = new Set(['HELLO', 'AUTH']);
/** After these, replies come without commands, or commands without replies. */
const uncounted = new Set(['SUBSCRIBE', 'PSUBSCRIBE', 'SSUBSCRIBE', 'UNSUBSCRIBE', 'PUNSUBSCRIBE', 'SUNSUBSCRIBE', 'MONITOR', 'CLIENT REPLY', 'SYNC', 'PSYNC']);

export class RedisSession extends Conversation {
  readonly #client: Socket;
  readonly #reader: ByteReader;
  readonly #replies = new ReplyCounter();
  #up: Socket | undefined;
  #openCommands = 0;
  #counted = true;
  /** Commands are queued there until EXEC. */
  #queues = false;
  #wake: (() => void) | undefined;

  constructor(core: Core, place: Place, client: Socket) {
    super(core, place);
    this.#client = client;
    this.#reader = new ByteReader(client, idleMs);
  }

  protected override async talk(): Promise<void> {
    const opened = this.judge({ protocol: 'redis', command: '' });
    const { decision } = opened;
    this.runs('', opened, true);
    if (decision.verdict === 'deny') {
      this.record('deny', 'denied', decision);
      this.refuse(decision);
      return;
    }
    this.record('allow', 'redis conversation', decision);
    while (!this.over) {
      let words: readonly Buffer[];
      try {
        if (!(await this.#reader.anything())) break;
        words = await readRespCommand(this.#reader);
      } catch (error) {
        if (error instanceof RespProblem) this.#answer(respError(error.message));
        else if (!(error instanceof ReadEnded)) throw error;
        break;
      }
      await this.#command(words);
    }
    // The client is done; what is on its way back still arrives.
    if (this.#counted) await this.#quiet();
  }

  protected override refuse(decision: Decision): void {
    this.#answer(denial(decision, this.about.correlation));
  }

  protected override readAhead(): () => void {
    return this.#reader.ahead();
  }

  protected override close(): void {
    this.#reader.detach();
    this.#client.destroySoon();
    this.#up?.destroySoon();
    this.#wake?.();
  }

  async #command(words: readonly Buffer[]): Promise<void> {
    const name = respName(words);
    const filled = this.#filled(name, words);
    if ('verdict' in filled) return this.#deny(filled, 'a secret or a placeholder is out of place', '?');
    const said = words.slice(1);
    const stopped = await (logsIn.has(name) ? this.stopInLogin(said.map((word) => word.toString('utf8'))) : this.stopIn(words, { way: 'command', counts: () => true, place: (n) => (n === 1 ? 'the command' : `argument ${n - 1}`) }));
    if (this.over) return;
    if (stopped) return this.#deny(stopped.decision, stopped.message, name);
    const judged = this.#judged(name, new Map<string, unknown>([['command', name], ['arguments', said.map((word) => word.toString('latin1'))]]));
    if (judged.decision.verdict === 'deny') return this.#deny(judged.decision, 'denied', name);
    if (judged.decision.verdict === 'escalate') {
      const asked = await this.ask(judged, `${name} at ${this.where}`, safeBlock(redactForCard(words.map((word) => word.toString('utf8')).join(' '), [], shownOnCards.http), 20_000));
      if (this.over) return;
      if (asked.verdict === 'waiting') return this.#deny({ ...asked.decision, hint: 'Send the identical command again later; it passes once after approval.' }, `still waiting for approval ${asked.approvalId}`, name);
      if (asked.verdict === 'deny') return this.#deny(asked.decision, 'not approved', name);
    }
    const over = transport.has(name) ? undefined : this.overRate({ protocol: 'redis', command: name });
    if (over) return this.#deny(over, 'over the rate of its rule', name);
    if (!transport.has(name)) this.runs(name, judged, judged.decision.verdict === 'escalate');
    if (judged.decision.monitored !== undefined) this.record('allow', 'command', judged.decision, { command: name });
    await this.#forward(name, filled.words);
  }

  async #forward(name: string, words: readonly Buffer[]): Promise<void> {
    const up = this.#up ?? (await this.#connect());
    if (this.over) return;
    this.core.counts.allowed += 1;
    if (uncounted.has(name)) this.#counted = false;
    if (changesQueue.has(name)) this.#queues = name === 'MULTI';
    this.#openCommands += 1;
    const bytes = writeRespCommand(words);
    this.core.counts.bytesOut += bytes.length;
    if (!up.write(bytes)) await Promise.race([once(up, 'drain'), once(up, 'close')]);
    while (this.#counted && this.#openCommands > mostOpen && !this.over) await this.#reply();
  }

  async #connect(): Promise<Socket> {
    const { name, port, tls } = this.place;
    const { upstreams } = this.core.ports;
    const plain = await upstreams.connect(name, port, false);
    const up = tls ? await upstreams.secure(plain, name, port, []) : plain;
    this.#up = up;
    const watch = new KnownSecrets(this.core.config.credentials.filter((one) => one.host.toLowerCase() === name).map((one) => one.value)).watch();
    up.on('data', (chunk: Buffer) => {
      const passed = watch.next(chunk);
      if (passed === undefined) {
        this.record('deny', 'the server sent a credential back', this.refusal('credentials.echo', 'The server sent a credential back.', ''));
        this.end();
        return;
      }
      this.core.counts.bytesIn += passed.length;
      if (!this.#client.write(passed)) {
        up.pause();
        this.#client.once('drain', () => up.resume());
      }
      this.#openCommands -= this.#replies.feed(passed);
      if (this.#replies.broken) this.#counted = false;
      // Where replies cannot be told from messages, what was let in may go on as long as the connection.
      if (this.#counted && this.#openCommands === 0) this.settled();
      this.#wake?.();
    });
    up.once('close', () => this.end());
    if (this.over) up.destroy();
    return up;
  }

  #judged(name: string, params: ReadonlyMap<string, unknown>): Judged {
    const judged = this.judge({ protocol: 'redis', command: name }, params);
    return transport.has(name) && judged.decision.decidedBy === 'default' ? this.judge({ protocol: 'redis', command: '' }, params) : judged;
  }

  /** The words as they are sent; a refusal where a secret would leave. */
  #filled(name: string, words: readonly Buffer[]): { readonly words: readonly Buffer[] } | Decision {
    const { core, place } = this;
    const auth = logsIn.has(name);
    const { credentials } = core.config;
    const out: Buffer[] = [];
    for (const word of words) {
      const text = auth ? word.toString('utf8') : '';
      const real = auth ? putIn(text, credentials, { host: place.name, port: place.port, header: 'auth', confidential: place.tls || core.ports.upstreams.pinned(place.name) }) : text;
      if (real === undefined) return this.refusal('credentials.binding', 'A credential placeholder stands in AUTH of a host that it is not bound to.', 'Use the placeholder only for the host it was given for.');
      if (core.secrets.inBytes(auth ? Buffer.from(withoutPlaceholders(text, credentials)) : word)) return this.refusal('inspection.scanForPII', 'A secret of this sandbox stands in the command.', 'Secrets are put in outside the sandbox; never send one yourself.');
      out.push(real === text ? word : Buffer.from(real, 'utf8'));
    }
    return { words: out };
  }

  /** Answers in place of the server, after the replies to what was sent before. */
  async #deny(decision: Decision, message: string, command: string): Promise<void> {
    this.record('deny', message, decision, { command: plainName.test(command) ? command : '?' });
    if (this.#counted) await this.#quiet();
    this.#answer(denial(decision, this.about.correlation));
    // A transaction that lost a command is not carried out (as Redis has it: EXECABORT): with the connection it is gone.
    if (!this.#counted || this.#queues) this.end();
  }

  async #quiet(): Promise<void> {
    while (this.#openCommands > 0 && !this.over && this.#counted) await this.#reply();
  }
  async #reply(): Promise<void> {
    await new Promise<void>((resolve) => { this.#wake = resolve; });
  }
  #answer(bytes: Buffer): void {
    if (this.#client.writable) this.#client.write(bytes);
  }
}

function denial(decision: Decision, eventId: string): Buffer {
  return respError(`denied by policy, rule ${decision.rules[0]?.id ?? 'default'}: ${decision.reason} ${decision.hint} (event ${eventId})`);
}
