/** One model call from the agent's request to the delivered answer; it can outlive the connection it came on while a person is asked. */
import type { ProviderPlan, SandboxConfig } from '@nemoclaw/contract';
import type { Answer, Dialect, ToolCall, Turn } from './dialect.ts';
import { modelCallEvent } from './events.ts';
import { passGate } from './gate.ts';
import { waitingNotice } from './notice.ts';
import type { Listener } from './listener.ts';
import type { FilledParts } from './parts.ts';
import { eligible, type Pools } from './providers.ts';
import { plainId, type Sealed } from './sealed.ts';
import type { Turns } from './turns.ts';
import { consult, type Consulted } from './consult.ts';

export interface Surroundings {
  readonly parts: FilledParts;
  readonly dialect: Dialect;
  readonly pools: Pools;
  readonly sealed: Sealed;
  readonly turns: Turns;
}

export class Exchange {
  readonly turn: Turn;
  readonly answer: Answer;
  /** `asking` the provider, `held` for a person, `finished` (the answer is ready or delivered), `over`. */
  state: 'asking' | 'held' | 'finished' | 'over' = 'asking';
  readonly #around: Surroundings;
  readonly #config: SandboxConfig;
  readonly #abort = new AbortController();
  #listener: Listener | undefined;
  #notice = '';
  #calls: readonly ToolCall[] = [];
  #escalated = false;
  #onDetached: (() => void) | undefined;

  constructor(around: Surroundings, config: SandboxConfig, turn: Turn, answer: Answer) {
    this.#around = around;
    this.#config = config;
    this.turn = turn;
    this.answer = answer;
  }

  /** Nobody listens on the agent's side. */
  get isAbandoned(): boolean {
    return this.#listener === undefined || this.#listener.closed;
  }

  /** Ids of the calls the agent has got or will get. */
  get deliveredIds(): string[] {
    return this.#calls.map((call) => call.id);
  }

  /** Lets `listener` have this answer: what was sent before is sent again. */
  attach(listener: Listener): void {
    this.#listener = listener;
    listener.onGone(() => this.#gone(listener));
    if (this.state === 'held') {
      listener.advance(this.answer);
      listener.notice(this.#notice);
    } else if (this.state === 'finished') this.#deliver();
  }

  /** True once nobody listens; waits for that at most `ms` (the end of the former connection may be noticed a little later). */
  whenAbandoned(ms: number): Promise<boolean> {
    if (this.isAbandoned) return Promise.resolve(true);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(this.isAbandoned), ms);
      this.#onDetached = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  /** Ends everything: questions are withdrawn, the provider is left, nothing is delivered any more. */
  withdraw(): void {
    if (this.state === 'over') return;
    this.state = 'over';
    this.#abort.abort();
    this.#listener?.fail(503, 'The request was withdrawn.', 'withdrawn');
  }

  /** From the question to the provider to the answer. Never rejects. */
  async run(providers: readonly ProviderPlan[]): Promise<void> {
    try {
      const consulted = await this.#consult(providers);
      if (this.state === 'over') return;
      if (consulted.outcome !== 'complete') {
        this.state = 'over';
        this.#listener?.fail(consulted.status, consulted.message, consulted.code, consulted.headers);
        return;
      }
      if (this.answer.calls.length > 0) await this.#decide();
      else {
        this.state = 'over';
        this.#listener?.deliver(this.answer, []);
      }
    } catch {
      this.state = 'over';
      this.#listener?.fail(500, 'The request failed inside the router.', 'internal');
    }
  }

  async #consult(providers: readonly ProviderPlan[]): Promise<Consulted> {
    const { parts, dialect, pools, sealed } = this.#around;
    const started = parts.clock.monotonic();
    const messages = dialect.restore(this.turn.messages, sealed);
    const consulted = await consult({
      parts,
      dialect,
      pools,
      turn: this.turn,
      messages,
      answer: this.answer,
      providers,
      // A label that has risen meanwhile counts for the next attempt.
      mayUse: (provider) => eligible([provider], parts.labels.current(), this.turn.model).length > 0,
      listener: () => this.#listener,
      signal: this.#abort.signal,
    });
    const { prompt, completion } = this.answer.tokens;
    parts.audit.emit(
      modelCallEvent(parts, this.#config.task, this.answer.id, {
        provider: consulted.provider.name,
        model: consulted.provider.model,
        location: consulted.provider.location,
        ms: Math.round((parts.clock.monotonic() - started) * 1000) / 1000,
        outcome: consulted.outcome === 'complete' ? 'complete' : this.#abort.signal.aborted ? 'cancelled' : consulted.code,
        attempts: consulted.attempts,
        streamed: this.turn.stream,
        promptTokens: prompt,
        completionTokens: completion,
        calls: this.answer.calls.length,
      }),
    );
    return consulted;
  }

  async #decide(): Promise<void> {
    const { parts, dialect, sealed, turns } = this.#around;
    const { streamMs } = this.#config.patience;
    const gate = await passGate(
      parts,
      sealed,
      {
        role: this.#config.role,
        task: this.#config.task,
        offered: this.turn.offered,
        answerId: this.answer.id,
        usedIds: new Set(dialect.callIds(this.turn.messages).map(plainId)),
        patienceMs: this.turn.stream ? streamMs : Math.min(streamMs, parts.limits.wholeHoldMs),
      },
      this.answer.calls,
      (waiting) => this.#hold(waiting),
    );
    if (this.#isOver()) return;
    if (!gate.calls) {
      this.withdraw();
      return;
    }
    this.#calls = gate.calls;
    this.#escalated = gate.escalated;
    const wasHeld = this.state === 'held';
    this.state = 'finished';
    if (this.#escalated && !wasHeld && !turns.add(this, this.#config.task)) this.#escalated = false;
    this.#deliver();
  }

  #hold(waiting: readonly { readonly action: string; readonly text: string }[]): AbortSignal | undefined {
    const { turns } = this.#around;
    if (!turns.add(this, this.#config.task)) return undefined;
    this.state = 'held';
    const gap = this.answer.deltas.some((delta) => Object.hasOwn(delta, 'content')) ? '\n\n' : '';
    this.#notice = `${gap}${waiting.map(({ action, text }) => waitingNotice(action, text)).join('\n')}\n`;
    if (this.#listener && !this.#listener.closed) {
      this.#listener.advance(this.answer);
      this.#listener.notice(this.#notice);
    } else this.#suspend();
    return this.#abort.signal;
  }

  /** Gives the answer to whoever listens; kept for a repeat only where a person was needed. */
  #deliver(): void {
    const { parts, turns } = this.#around;
    const wasHeard = !this.isAbandoned;
    this.#listener?.deliver(this.answer, this.#calls);
    if (this.#escalated) turns.expire(this, wasHeard ? parts.limits.keepMs : parts.limits.suspendMs, () => this.withdraw());
    else this.state = 'over';
  }

  #gone(listener: Listener): void {
    if (listener !== this.#listener) return;
    this.#onDetached?.();
    this.#onDetached = undefined;
    if (this.state === 'asking') this.withdraw();
    else if (this.state === 'held') this.#suspend();
  }

  #suspend(): void {
    const { parts, turns } = this.#around;
    turns.expire(this, parts.limits.suspendMs, () => this.withdraw());
  }

  #isOver(): boolean {
    return this.state === 'over';
  }
}
